"""When the source has no beat and the sink takes none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.errors import InputError
from hw.verilator import Stalls

BoolArray = npt.NDArray[np.bool_]
_WORD = (1 << 64) - 1
_GOLDEN_RATIO = 0x9E3779B97F4A7C15
_MULTIPLIER = 0x2545F4914F6CDD1D


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StallPattern:
    """Idle cycles that are given one by one, from the end of the reset on; a pattern repeats after its end.

    A source that offered a beat keeps offering it until it is taken, whatever its pattern says.

    Attributes:
        source_idle: Cycles in which the source begins no beat, bool ``(C,)``; not all of them.
        sink_busy: Cycles in which the sink takes no beat, bool ``(D,)``; not all of them.
    """

    source_idle: BoolArray
    sink_busy: BoolArray

    def __post_init__(self) -> None:
        for name, pattern in (("source_idle", self.source_idle), ("sink_busy", self.sink_busy)):
            if pattern.ndim != 1 or pattern.dtype != np.bool_ or not pattern.size:
                raise InputError(f"{name} must be a bool array (C,) with C at least 1")
            if pattern.all():
                raise InputError(f"{name} stalls in every cycle: nothing would ever move")


def chances(seed: int) -> Iterator[int]:
    """Yield the 8-bit numbers of the generator of random stalls: xorshift64*, Marsaglia 2003, Vigna 2016.

    A side stalls where the number is below its probability in 1/256. It is the generator of the simulator's
    harness, so that one seed stalls both alike.
    """
    state = (seed & _WORD) * _GOLDEN_RATIO & _WORD | 1
    while True:
        state ^= state >> 12
        state ^= state << 25 & _WORD
        state ^= state >> 27
        yield (state * _MULTIPLIER & _WORD) >> 56


def of_256(probability: float) -> int:
    """Return a probability in 1/256, as the generator takes it."""
    return round(256 * probability)


__all__ = ["StallPattern", "Stalls", "chances", "of_256"]
