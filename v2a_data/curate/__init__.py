"""Curation: score → rules → clips → duplicates → splits. Measuring and deciding are apart."""
