"""Self-contained HTML reports: one file that opens from disk, no scripts, nothing loaded from anywhere."""
