"""Bit-packed native code that computes a graph near the machine's popcount limit."""

from hw.emulator.target import EmulatorTarget

__all__ = ["EmulatorTarget"]
