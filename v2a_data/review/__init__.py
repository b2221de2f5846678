"""What people say about windows: votes, the sheet they are asked with, tables of others."""
