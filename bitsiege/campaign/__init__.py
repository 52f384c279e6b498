"""Many evaluations at once: shards that are computed anywhere, kept by their content, and merged."""
