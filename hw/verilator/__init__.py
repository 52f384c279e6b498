"""Simulating generated hardware with Verilator: one shared library a design, called from Python."""

from hw.compiler import Compiler, find_compiler
from hw.verilator.library import Design, Tap, build_library
from hw.verilator.simulation import Simulation, Stalls, StreamResult
from hw.verilator.tools import Verilator, find_verilator

__all__ = [
    "Compiler",
    "Design",
    "Simulation",
    "Stalls",
    "StreamResult",
    "Tap",
    "Verilator",
    "build_library",
    "find_compiler",
    "find_verilator",
]
