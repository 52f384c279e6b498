"""Boards: what the FPGA of each has, and how its processor reaches the programmable logic.

One TOML file a board in this folder; a board of one's own is one more such file, named by its path.
"""

from hw.boards.board import Addresses, Board, Clock, ProcessingSystem, Resources
from hw.boards.catalogue import BOARDS, find_board, load_board

__all__ = [
    "BOARDS",
    "Addresses",
    "Board",
    "Clock",
    "ProcessingSystem",
    "Resources",
    "find_board",
    "load_board",
]
