"""Folding: PE and SIMD of every layer, the solver that chooses them, and FINN's JSON form of them."""

from hw.folding.finn import finn_entries, read_finn_folding, write_finn_folding
from hw.folding.model import Folding, LayerFolding, divisors, vectors_per_frame
from hw.folding.solver import solve_folding

__all__ = [
    "Folding",
    "LayerFolding",
    "divisors",
    "finn_entries",
    "read_finn_folding",
    "solve_folding",
    "vectors_per_frame",
    "write_finn_folding",
]
