"""Performance, each number beside its peer measured in the same run."""
