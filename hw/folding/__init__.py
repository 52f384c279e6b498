"""Folding: PE and SIMD of every layer, the solver that chooses them, and FINN's JSON form of them."""

from hw.folding.finn import FinnFolding, finn_entries, read_finn_file, read_finn_folding, write_finn_folding
from hw.folding.model import (
    RAM_STYLES,
    Folding,
    LayerFolding,
    divisors,
    layer_after,
    simd_values,
    vectors_per_frame,
    window_lanes,
)
from hw.folding.solver import solve_folding

__all__ = [
    "RAM_STYLES",
    "FinnFolding",
    "Folding",
    "LayerFolding",
    "divisors",
    "finn_entries",
    "layer_after",
    "read_finn_file",
    "read_finn_folding",
    "simd_values",
    "solve_folding",
    "vectors_per_frame",
    "window_lanes",
    "write_finn_folding",
]
