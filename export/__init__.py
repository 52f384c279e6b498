"""From a trained ±1 network to an exact integer description of it."""
