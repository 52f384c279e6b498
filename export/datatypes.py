"""Integer types of streams and weights, named as QONNX and FINN name them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from export.errors import GraphFileError

_MAX_BITS = 64


@dataclass(frozen=True, slots=True)
class DataType:
    """A hardware integer type.

    Attributes:
        name: ``BIPOLAR`` (-1 and +1 in one bit; bit 1 stands for +1), ``TERNARY`` (-1, 0 and +1 in two bits
            of two's complement), ``UINT<n>`` or ``INT<n>`` (two's complement), 1 to 64 bits.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name in ("BIPOLAR", "TERNARY"):
            return
        match = re.fullmatch(r"U?INT([1-9][0-9]?)", self.name)
        if match is None or int(match[1]) > _MAX_BITS:
            raise GraphFileError(
                f"unknown data type {self.name!r}", hint="known: BIPOLAR, TERNARY, UINT<n>, INT<n>"
            )

    @property
    def is_bipolar(self) -> bool:
        """Whether values are -1 and +1 only."""
        return self.name == "BIPOLAR"

    @property
    def is_ternary(self) -> bool:
        """Whether values are -1, 0 and +1."""
        return self.name == "TERNARY"

    @property
    def is_signed(self) -> bool:
        """Whether a negative value exists."""
        return not self.name.startswith("U")

    @property
    def width_bits(self) -> int:
        """Bits of one element in a stream or memory."""
        if self.is_bipolar:
            return 1
        return 2 if self.is_ternary else int(self.name.lstrip("UINT"))

    @property
    def minimum(self) -> int:
        """Smallest value."""
        if self.is_bipolar or self.is_ternary:
            return -1
        return -(1 << (self.width_bits - 1)) if self.is_signed else 0

    @property
    def maximum(self) -> int:
        """Largest value."""
        if self.is_bipolar or self.is_ternary:
            return 1
        return (1 << (self.width_bits - int(self.is_signed))) - 1

    def __str__(self) -> str:
        return self.name


BIPOLAR = DataType("BIPOLAR")
TERNARY = DataType("TERNARY")
UINT8 = DataType("UINT8")


def smallest_int(minimum: int, maximum: int) -> DataType:
    """Return the narrowest signed or unsigned type that holds every integer from minimum to maximum."""
    if minimum >= 0:
        return DataType(f"UINT{max(1, maximum.bit_length())}")
    bits = max((-minimum - 1).bit_length(), maximum.bit_length() if maximum > 0 else 0) + 1
    return DataType(f"INT{bits}")
