"""What integers on a stream mean in the float network, and exact grids of powers of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import frexp, gcd, ldexp

import numpy as np
import numpy.typing as npt

from export.datatypes import BIPOLAR, DataType
from export.graph import IntArray

MAX_GRID_BITS = 40
EXACT_FLOAT32 = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """An integer stream u and what it means.

    Element j of the float network is ``unit * (multiplier * sign_j * u_j + offset_j)``.

    Attributes:
        name: Name of the graph's node that writes it.
        type: Type of u.
        unit: Exact, greater than 0.
        multiplier: At least 1; 1 where every offset is 0.
        offsets: int64 ``(elements,)`` or ``(1,)``.
        signs: int64, ±1, of the same shapes.
    """

    name: str
    type: DataType
    unit: float
    multiplier: int
    offsets: IntArray
    signs: IntArray

    def renamed(self, name: str) -> Stream:
        """Return the same stream, written by another node."""
        return replace(self, name=name)

    def code(self, value: float) -> int | None:
        """Return the u that stands for a float in every channel, or None where none does."""
        wide = value / self.unit - self.offsets.astype(np.float64)
        codes = np.unique(self.signs * wide / self.multiplier)
        if len(codes) != 1 or codes[0] != np.rint(codes[0]):
            return None
        code = int(codes[0]) if np.isfinite(codes[0]) else None
        return code if code is not None and self.type.minimum <= code <= self.type.maximum else None


def is_exact(unit: float, bound: int) -> bool:
    """Whether float32 adds multiples of ``unit`` up to ``bound * unit`` without rounding, in any order.

    So it is where bound, times unit without its powers of two, is at most 2**24.
    """
    mantissa, exponent = frexp(unit)
    whole = int(ldexp(mantissa, 53))
    odd = whole // (whole & -whole)
    smallest = exponent - odd.bit_length()
    return (
        odd * max(bound, 1) <= EXACT_FLOAT32 and smallest >= -149 and ldexp(odd * bound, smallest) < 2.0**127
    )


def on_grid(values: npt.NDArray[np.float32]) -> tuple[IntArray, int] | None:
    """Write finite floats as integers on the coarsest grid of a power of two.

    Returns:
        int64 of the same shape and exponent k with ``values == integers * 2**-k`` exactly, k as small as it
        can be; None where an integer would reach 2**40, or the values are all 0.
    """
    wide = values.astype(np.float64)
    mantissas, exponents = np.frexp(wide[wide != 0])
    if mantissas.size == 0:
        return None
    whole = np.abs(mantissas * (1 << 24)).astype(np.int64)
    trailing = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    k = int((24 - trailing - exponents).max())
    if int(exponents.max()) + k > MAX_GRID_BITS:
        return None
    return np.ldexp(wide, k).astype(np.int64), k


def common_divisor(values: IntArray) -> int:
    """Return the greatest common divisor, 0 where all are 0."""
    return gcd(*(int(v) for v in np.unique(np.abs(values))))


def make_stream(
    name: str, stream_type: DataType, exponent: int, multiplier: int, offsets: IntArray, signs: IntArray
) -> Stream:
    """Return the stream of ``2**-exponent * (multiplier * signs * u + offsets)``, in lowest terms."""
    divisor = gcd(multiplier, common_divisor(offsets))
    return Stream(
        name=name,
        type=stream_type,
        unit=ldexp(divisor, -exponent),
        multiplier=multiplier // divisor,
        offsets=np.asarray(offsets // divisor, np.int64),
        signs=np.asarray(signs, np.int64),
    )


def two_valued(name: str, low: float, high: float, signs: IntArray) -> Stream | None:
    """Return the BIPOLAR stream whose -1 and +1 stand for two floats; None where no grid holds both."""
    grid = on_grid(np.asarray([low, high], np.float32))
    if grid is None:
        return None
    (bottom, top), exponent = (int(value) for value in grid[0]), grid[1]
    # The middle of two integers may be half an integer: count in halves.
    offsets = np.asarray([top + bottom], np.int64)
    return make_stream(name, BIPOLAR, exponent + 1, top - bottom, offsets, signs)
