from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType, smallest_int
from export.errors import GraphFileError


@pytest.mark.parametrize(
    ("name", "bits", "low", "high"),
    [
        ("BIPOLAR", 1, -1, 1),
        ("UINT8", 8, 0, 255),
        ("UINT1", 1, 0, 1),
        ("INT1", 1, -1, 0),
        ("INT8", 8, -128, 127),
        ("INT64", 64, -(2**63), 2**63 - 1),
        ("UINT64", 64, 0, 2**64 - 1),
    ],
)
def test_ranges(name: str, bits: int, low: int, high: int) -> None:
    kind = DataType(name)
    assert (kind.width_bits, kind.minimum, kind.maximum, str(kind)) == (bits, low, high, name)
    assert kind.is_signed == (low < 0)
    assert kind.is_bipolar == (name == "BIPOLAR")


@pytest.mark.parametrize(
    "name", ["", "INT", "INT0", "INT65", "UINT08", "int8", "FLOAT32", "INT8 ", "UINT8\n", "INT-1"]
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(GraphFileError, match="unknown data type"):
        DataType(name)


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62))
def test_smallest_int_is_smallest(minimum: int, span: int) -> None:
    maximum = minimum + span
    kind = smallest_int(minimum, maximum)
    assert kind.minimum <= minimum
    assert maximum <= kind.maximum
    if kind.width_bits > 1:
        smaller = DataType(f"{kind.name.rstrip('0123456789')}{kind.width_bits - 1}")
        assert minimum < smaller.minimum or maximum > smaller.maximum


def test_equality() -> None:
    assert DataType("UINT8") == UINT8
    assert BIPOLAR != UINT8
