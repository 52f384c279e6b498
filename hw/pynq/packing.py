"""FINN's packing of tensors into bytes, and back.

The innermost dimension is packed: element 0 lies in the least significant bits of byte 0, -1 of a ±1 element
is bit 0 and +1 is bit 1, and what is left of the last byte is 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .bus import ByteArray
from .errors import BadInputError

Elements = npt.NDArray[Any]

_FORM = re.compile(r"(U?)INT([1-9][0-9]?)")
_CONTAINERS = (8, 16, 32, 64)


@dataclass(frozen=True)
class ElementType:
    """How an element is coded.

    Attributes:
        name: As FINN writes it: ``BIPOLAR``, ``BINARY``, ``UINT8``, ``INT17`` and so on, up to 64 bits.
        bits: Width of an element.
        signed: Whether it is in two's complement.
        bipolar: Whether its values are -1 and +1.
    """

    name: str
    bits: int
    signed: bool
    bipolar: bool = False

    @property
    def minimum(self) -> int:
        """Least value."""
        if self.bipolar:
            return -1
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def maximum(self) -> int:
        """Greatest value."""
        if self.bipolar:
            return 1
        return (1 << self.bits - self.signed) - 1

    @property
    def container(self) -> np.dtype[Any]:
        """Smallest NumPy type that holds it."""
        width = next(width for width in _CONTAINERS if width >= self.bits)
        return np.dtype(f"{'i' if self.signed or self.bipolar else 'u'}{width // 8}")

    def packed_bytes(self, count: int) -> int:
        """Return how many bytes ``count`` elements take."""
        return (count * self.bits + 7) // 8


def parse_type(text: str) -> ElementType:
    """Read the name of a type, alone or as in FINN's settings: ``DataType['UINT8']``.

    Raises:
        BadInputError: It is none that can be packed.
    """
    wrapped = re.fullmatch(r"DataType\[['\"](\w+)['\"]\]", text)
    name = wrapped[1] if wrapped else text
    if name == "BIPOLAR":
        return ElementType(name=name, bits=1, signed=False, bipolar=True)
    if name == "BINARY":
        return ElementType(name=name, bits=1, signed=False)
    found = _FORM.fullmatch(name)
    if found is None or int(found[2]) > _CONTAINERS[-1]:
        raise BadInputError(
            f"{text!r} is no type that can be packed", hint="BIPOLAR, BINARY, INT1 to INT64, UINT1 to UINT64"
        )
    return ElementType(name=name, bits=int(found[2]), signed=not found[1])


def pack(values: Elements, element: ElementType) -> ByteArray:
    """Pack the innermost dimension.

    Args:
        values: Whole numbers of any dtype, ``(..., n)``.
        element: Their type.

    Returns:
        uint8 ``(..., ceil(n * bits / 8))``.

    Raises:
        BadInputError: A value that the type can't hold.
    """
    check_values(values, element)
    if element.bits in _CONTAINERS:
        little = element.container.newbyteorder("<")
        return np.ascontiguousarray(values, little).view(np.uint8)
    if element.bits == 1:
        ones = values > 0 if not element.signed else values < 0
        return np.packbits(ones, axis=-1, bitorder="little")
    little = element.container.newbyteorder("<")
    coded = np.ascontiguousarray(values, little).view(np.uint8).reshape(*values.shape, little.itemsize)
    bits = np.unpackbits(coded, axis=-1, bitorder="little")[..., : element.bits]
    flat = bits.reshape(*values.shape[:-1], values.shape[-1] * element.bits)
    return np.packbits(flat, axis=-1, bitorder="little")


def unpack(packed: ByteArray, element: ElementType, count: int) -> Elements:
    """Unpack the innermost dimension.

    Args:
        packed: uint8 ``(..., bytes)``; bytes past the last element are ignored.
        element: The type of the elements.
        count: Elements in the innermost dimension.

    Returns:
        ``(..., count)`` in the smallest NumPy type that holds the element.

    Raises:
        BadInputError: There are fewer bytes than the elements take.
    """
    needed = element.packed_bytes(count)
    if packed.shape[-1] < needed:
        raise BadInputError(f"{count} elements of {element.name} take {needed} bytes, not {packed.shape[-1]}")
    used = np.ascontiguousarray(packed[..., :needed])
    if element.bits in _CONTAINERS:
        return used.view(element.container.newbyteorder("<")).astype(element.container)
    bits = np.unpackbits(used, axis=-1, count=count * element.bits, bitorder="little")
    by_element = bits.reshape(*packed.shape[:-1], count, element.bits)
    if element.bits == 1:
        ones = by_element[..., 0].astype(element.container)
        if element.bipolar:
            return 2 * ones - 1
        return -ones if element.signed else ones
    width = 8 * element.container.itemsize
    padded = np.zeros((*by_element.shape[:-1], width), np.uint8)
    # At the upper end, so that shifting down again extends the sign.
    padded[..., width - element.bits :] = by_element
    codes = np.packbits(padded, axis=-1, bitorder="little").view(element.container.newbyteorder("<"))
    return codes[..., 0].astype(element.container) >> (width - element.bits)


def check_values(values: Elements, element: ElementType) -> None:
    """Refuse values that a type can't hold.

    Raises:
        BadInputError: No whole numbers, or outside the type's range.
    """
    if values.dtype.kind not in "biuf":
        raise BadInputError(f"can't pack an array of {values.dtype}")
    if not values.size or (values.dtype == element.container and element.bits in _CONTAINERS):
        return
    if values.dtype.kind == "f" and not np.array_equal(np.trunc(values), values):
        raise BadInputError(f"{element.name} holds whole numbers", hint="round the values first")
    low, high = values.min(), values.max()
    if low < element.minimum or high > element.maximum or (element.bipolar and not values.all()):
        raise BadInputError(
            f"values from {low} to {high} don't fit {element.name}",
            hint=f"{'-1 or +1' if element.bipolar else f'{element.minimum} to {element.maximum}'}",
        )
