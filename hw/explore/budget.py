"""What a search may spend, and what it found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hw.boards import Board
from hw.folding import Folding
from hw.resources import Estimate

# LUTs that one block RAM is worth where there is no board: as many as the 7Z020 has of them for each.
LUT_PER_BRAM36 = 380.0
# What a board's budget leaves free: placement and routing fail before an FPGA is full, and the shell around
# the accelerator (DMA engines, interconnect) needs its part.
LUT_HEADROOM = 0.15
BRAM_HEADROOM = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Upper bounds on an estimate.

    Attributes:
        lut: LUT sites of logic and of distributed memories together.
        ff: Flip-flops.
        bram36: Block RAMs of 36 kbit.
        dsp: DSP slices.
        lut_per_bram36: LUTs that one block RAM is worth when two foldings are compared.
    """

    lut: float = math.inf
    ff: float = math.inf
    bram36: float = math.inf
    dsp: float = math.inf
    lut_per_bram36: float = LUT_PER_BRAM36

    def price(self, lut: float, bram36: float) -> float:
        """Return what hardware costs, in LUTs."""
        return lut + self.lut_per_bram36 * bram36

    def text(self) -> str:
        """The bounds that there are."""
        bounds = (("LUT", self.lut), ("FF", self.ff), ("BRAM36", self.bram36), ("DSP", self.dsp))
        return ", ".join(f"{value:,.0f} {name}" for name, value in bounds if math.isfinite(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A folding that a search found.

    Attributes:
        folding: PE, SIMD and the place of the weights of each layer.
        ii_cycles: Cycles from one frame to the next.
        estimate: What the whole design will cost, with the model's error.
    """

    folding: Folding
    ii_cycles: int
    estimate: Estimate


def board_budget(board: Board) -> Budget:
    """Return what a design may take on a board: all DSP slices, and the rest less some head-room."""
    return Budget(
        lut=math.floor(board.lut * (1 - LUT_HEADROOM)),
        ff=math.floor(board.ff * (1 - LUT_HEADROOM)),
        bram36=math.floor(board.bram36 * (1 - BRAM_HEADROOM)),
        dsp=board.dsp,
        lut_per_bram36=board.lut / board.bram36,
    )
