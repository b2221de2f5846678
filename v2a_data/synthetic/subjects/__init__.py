"""The things of the synthetic world, one file per label."""
