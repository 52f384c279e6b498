"""Compares our packing with FINN's own, for random values of each type and widths 1 to 129."""

import sys

import numpy as np
from bitsiege_pynq import pack, parse_type, unpack
from finn_plus_driver.packing import finnpy_to_packed_bytearray, packed_bytearray_to_finnpy
from qonnx.core.datatype import DataType

rng = np.random.default_rng(0)
count = 0
# FINN's driver holds values as float32: beyond 24 bits it rounds them, and there is nothing to compare.
for name in ("BIPOLAR", "BINARY", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in range(2, 25))):
    element, finn = parse_type(name), DataType[name]
    for width in range(1, 130):
        if element.bipolar:
            values = rng.choice(np.array([-1.0, 1.0]), (2, width))
        else:
            values = rng.integers(element.minimum, element.maximum, (2, width), endpoint=True).astype(float)
        floats = values.astype(np.float32)
        expected = finnpy_to_packed_bytearray(floats, finn, reverse_inner=True, reverse_endian=True)
        packed = pack(values, element)
        assert np.array_equal(packed, expected), (name, width)
        # FINN's fast way back for whole bytes takes no padding, and needs an array without gaps.
        back = packed_bytearray_to_finnpy(
            np.ascontiguousarray(expected), finn, (2, width), reverse_inner=True, reverse_endian=True
        )
        assert np.array_equal(unpack(packed, element, width), back), (name, width)
        count += 1
sys.stdout.write(f"SAME {count}\n")
