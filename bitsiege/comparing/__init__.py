"""Two runs side by side, and whether the second one is worse."""
