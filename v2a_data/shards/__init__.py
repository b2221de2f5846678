"""Shards: the contract with the trainer (`format`), writing and reading."""
