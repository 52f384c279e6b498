"""What an overlay is: a build, a board and a clock, and everything that follows from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.errors import InputError
from export.graph import DataflowGraph
from hw.boards import Board
from hw.vivado.registers import BLOCKS

FORMAT = "bitsiege-overlay"
FORMAT_VERSION = 1
ABOUT = "overlay.json"
RESULT_BITS = 32
"""Bits of a logit in memory, two's complement."""
_BEAT_BYTES = 8
_HASH_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayPlan:
    """An overlay before anything of it is written.

    Attributes:
        model: Name of the network, an identifier in lower case.
        board: The board.
        graph_hash: SHA-256 of what the network computes, in hex.
        design_hash: SHA-256 of the circuit, in hex; the circuit itself shows it in its registers.
        input_shape: ``(height, width, channels)`` of a uint8 image.
        classes: Logits of a frame.
        draws: Whether weights are drawn for each frame, by seed and frame index.
        asked_mhz: Clock that was asked for [MHz].
    """

    model: str
    board: Board
    graph_hash: str
    design_hash: str
    input_shape: tuple[int, int, int]
    classes: int
    draws: bool
    asked_mhz: float

    @property
    def name(self) -> str:
        """Stem of the overlay's files. A changed circuit has another one: PYNQ loads no file twice."""
        return f"{self.model}_{self.board.key}_{self.design_hash[:_HASH_DIGITS]}"

    @property
    def planned_mhz(self) -> float:
        """Clock that the board's dividers give [MHz]."""
        return self.board.clock.planned_mhz(self.asked_mhz)

    @property
    def bytes_per_frame(self) -> int:
        """Bytes of a frame's logits in memory, whole beats of the bus."""
        used = self.classes * RESULT_BITS // 8
        return -(-used // _BEAT_BYTES) * _BEAT_BYTES

    @property
    def registers(self) -> dict[str, int]:
        """Address of each block of registers in the processor's address space, by name."""
        return {block.name: self.board.addresses.control + block.offset for block in BLOCKS}

    def about(self, files: Mapping[str, str], *, achieved_mhz: float | None = None) -> dict[str, Any]:
        """Return what ``overlay.json`` holds.

        Args:
            files: SHA-256 of each file of the overlay, by its name.
            achieved_mhz: Clock at which the built circuit meets its timing [MHz]; None where none is built.
        """
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "name": self.name,
            "board": self.board.name,
            "board_key": self.board.key,
            "part": self.board.part,
            "ps": self.board.ps.kind,
            "graph_hash": self.graph_hash,
            "design_hash": self.design_hash,
            "model": self.model,
            "input": {"shape": list(self.input_shape), "dtype": "uint8"},
            "output": {
                "classes": self.classes,
                "dtype": f"int{RESULT_BITS}",
                "bytes_per_frame": self.bytes_per_frame,
            },
            "registers": {name: f"{address:#010x}" for name, address in self.registers.items()},
            "clock": {
                "asked_mhz": self.asked_mhz,
                "planned_mhz": self.planned_mhz,
                "achieved_mhz": achieved_mhz,
            },
            "built": achieved_mhz is not None,
            "draws": self.draws,
            "files": dict(sorted(files.items())),
        }


def plan_overlay(
    graph: DataflowGraph,
    *,
    model: str,
    board: Board,
    graph_hash: str,
    design_hash: str,
    clock_mhz: float | None = None,
) -> OverlayPlan:
    """Choose the names, addresses and the clock of an overlay.

    Args:
        graph: The network.
        model: Its name; what is no letter or digit becomes an underscore.
        board: The board.
        graph_hash: SHA-256 of what the network computes, in hex.
        design_hash: SHA-256 of the circuit, in hex.
        clock_mhz: Clock [MHz]; None for the board's default.

    Raises:
        InputError: The board has no such clock, or the name has no letter or digit.
    """
    asked_mhz = board.clock.default_mhz if clock_mhz is None else clock_mhz
    if not 0 < asked_mhz <= board.clock.max_mhz:
        raise InputError(
            f"{asked_mhz:g} MHz are out of the range of {board.name}",
            hint=f"its file allows clocks up to {board.clock.max_mhz:g} MHz",
        )
    try:
        board.clock.divisors(asked_mhz)
    except ValueError as error:
        raise InputError(f"{board.name} has no such clock: {error}") from error
    return OverlayPlan(
        model=_identifier(model),
        board=board,
        graph_hash=graph_hash,
        design_hash=design_hash,
        input_shape=graph.input_shape,
        classes=graph.classes,
        draws=graph.is_stochastic,
        asked_mhz=asked_mhz,
    )


def _identifier(name: str) -> str:
    """A name that Verilog, Tcl and every file system take: it starts with a letter, and is not too long."""
    text = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].rstrip("_")
    if not text:
        raise InputError(f"the name {name!r} has no letter or digit", hint="give another one with --name")
    return text if text[0].isalpha() else f"n{text}"
