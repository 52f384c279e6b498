"""Packing against its definition; against FINN's own code see tests/hw/pynqremote."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.pynq import BadInputError, pack, parse_type, unpack

NAMES = ["BIPOLAR", "BINARY", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in range(1, 65))]


@given(name=st.sampled_from(NAMES), count=st.integers(1, 129), seed=st.integers(0, 99))
def test_packed_bits_are_those_of_the_definition(name, count, seed):
    element = parse_type(name)
    rng = np.random.default_rng(seed)
    if element.bipolar:
        values = rng.choice(np.array([-1, 1], np.int8), (2, count))
    else:
        values = rng.integers(element.minimum, element.maximum, (2, count), element.container, endpoint=True)
    packed = pack(values, element)
    assert packed.dtype == np.uint8
    assert packed.shape == (2, element.packed_bytes(count))
    for row, data in zip(values.tolist(), packed, strict=True):
        codes = [(value + 1) // 2 if element.bipolar else value % (1 << element.bits) for value in row]
        number = sum(code << place * element.bits for place, code in enumerate(codes))
        assert int.from_bytes(data.tobytes(), "little") == number
    found = unpack(np.concatenate([packed, np.full((2, 3), 255, np.uint8)], axis=1), element, count)
    assert np.array_equal(found, values)
    assert found.dtype == element.container


@given(count=st.integers(1, 129), seed=st.integers(0, 99))
def test_signs_are_packed_like_numpy(count, seed):
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (3, count))
    expected = np.packbits(signs > 0, axis=-1, bitorder="little")
    assert np.array_equal(pack(signs, parse_type("DataType['BIPOLAR']")), expected)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("BIPOLAR", [1, 0], "-1 or \\+1"),
        ("UINT8", [0, 256], "0 to 255"),
        ("INT4", [-9, 0], "-8 to 7"),
        ("INT4", [0.5, 0.0], "whole numbers"),
        ("INT4", [float("nan"), 0.0], "whole numbers"),
        ("INT4", ["a", "b"], "can't pack"),
    ],
)
def test_values_that_do_not_fit_are_refused(name, values, words):
    with pytest.raises(BadInputError, match=words):
        pack(np.array(values), parse_type(name))


def test_types_and_lengths_that_make_no_sense_are_refused():
    for name in ("FLOAT32", "INT0", "INT65", "DataType[UINT8]", "TERNARY", ""):
        with pytest.raises(BadInputError, match="is no type"):
            parse_type(name)
    with pytest.raises(BadInputError, match="5 elements of INT4 take 3 bytes, not 2"):
        unpack(np.zeros((1, 2), np.uint8), parse_type("INT4"), 5)
