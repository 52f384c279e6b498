"""Exact verification: every image of an L∞ ball on the 8-bit grid, or one that changes the class."""
