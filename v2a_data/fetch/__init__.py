"""Fetching: listing ids, downloading whole files, keeping the reason of every failure."""
