"""Models that recipes name: what they are (`registry`), where they lie (`store`), how they get there (`pull`)."""
