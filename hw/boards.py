"""Boards: the FPGA on each, and how many LUTs, flip-flops, block RAMs and DSP slices it has.

The numbers are those of AMD's overview data sheets: DS190 (Zynq-7000), DS891 (Zynq UltraScale+ MPSoC) and
DS987 (Kria K26).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from export.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board and what its FPGA has.

    Attributes:
        name: Name that the command line takes.
        part: The device.
        family: Family that synthesis maps to: ``xc7`` or ``xcup``.
        lut: LUT6s.
        ff: Flip-flops.
        bram36: Block RAMs of 36 kbit.
        dsp: DSP48 slices.
        uram: UltraRAMs of 288 kbit; the generated hardware uses none.
    """

    name: str
    part: str
    family: str
    lut: int
    ff: int
    bram36: int
    dsp: int
    uram: int = 0


def _zynq_7020(name: str) -> Board:
    return Board(name=name, part="XC7Z020", family="xc7", lut=53_200, ff=106_400, bram36=140, dsp=220)


BOARDS: tuple[Board, ...] = (
    _zynq_7020("Pynq-Z1"),
    _zynq_7020("Pynq-Z2"),
    Board(name="ZC706", part="XC7Z045", family="xc7", lut=218_600, ff=437_200, bram36=545, dsp=900),
    Board(name="Ultra96", part="XCZU3EG", family="xcup", lut=70_560, ff=141_120, bram36=216, dsp=360),
    Board(
        name="ZCU104", part="XCZU7EV", family="xcup", lut=230_400, ff=460_800, bram36=312, dsp=1_728, uram=96
    ),
    Board(name="KV260", part="XCK26", family="xcup", lut=117_120, ff=234_240, bram36=144, dsp=1_248, uram=64),
)
_OTHER_NAMES = {"k26": "KV260", "zynq7020": "Pynq-Z2", "7z020": "Pynq-Z2", "7z045": "ZC706"}


def find_board(name: str) -> Board:
    """Return the board of a name; case, hyphens and underscores don't matter.

    Raises:
        InputError: There is none; the hint lists all.
    """
    key = _key(name)
    known = {_key(board.name): board for board in BOARDS}
    board = known.get(_key(_OTHER_NAMES.get(key, name)))
    if board is None:
        near = get_close_matches(key, known, n=1)
        raise InputError(
            f"the board {name!r} is unknown" + (f"; did you mean {known[near[0]].name}?" if near else ""),
            hint=f"known: {', '.join(board.name for board in BOARDS)}",
        )
    return board


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
