"""Shards to crops: which come when (`order`), how they are decoded (`decode`, `fill`), by whom (`ring`), from where."""
