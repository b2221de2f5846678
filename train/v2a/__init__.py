"""v2a: models that give silent video its sound, trained from shards and judged side by side."""
