"""Faults in the hardware: bits of weights, thresholds and activations that flip or stick."""
