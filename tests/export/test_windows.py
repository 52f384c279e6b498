from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, TERNARY, UINT8, DataType
from export.errors import GraphFileError
from export.graph import FmPadding, Pool, Swg


def padding(**more: Any) -> FmPadding:
    return FmPadding(**{"name": "p", "input": "x", "in_type": BIPOLAR, "pads": (1, 1, 1, 1), **more})


def swg(**more: Any) -> Swg:
    return Swg(**{"name": "s", "input": "x", "in_type": BIPOLAR, "kernel": (3, 3), **more})


@pytest.mark.parametrize(
    ("in_type", "value", "out_type"),
    [
        (BIPOLAR, 0, TERNARY),
        (BIPOLAR, -1, BIPOLAR),
        (BIPOLAR, 1, BIPOLAR),
        (UINT8, 128, UINT8),
        (DataType("INT4"), 0, DataType("INT4")),
    ],
)
def test_only_a_masked_sign_changes_its_type(in_type: DataType, value: int, out_type: DataType) -> None:
    assert padding(in_type=in_type, value=value).out_type == out_type


@given(
    size=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    stride=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_every_window_lies_inside_and_no_further_one_would(size: Any, kernel: Any, stride: Any) -> None:
    if kernel[0] > size[0] or kernel[1] > size[1]:
        with pytest.raises(GraphFileError, match="does not fit"):
            swg(kernel=kernel, stride=stride).out_shape(size)
        return
    rows, columns, elements = swg(kernel=kernel, stride=stride).out_shape(size)
    assert elements == kernel[0] * kernel[1] * size[2]
    pool = Pool(name="m", input="x", in_type=BIPOLAR, kernel=kernel, stride=stride)
    assert pool.out_shape(size) == (rows, columns, size[2])
    for count, axis in ((rows, 0), (columns, 1)):
        assert (count - 1) * stride[axis] + kernel[axis] <= size[axis] < count * stride[axis] + kernel[axis]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: padding(pads=(1, 1, 1)), "four sizes"),
        (lambda: padding(pads=(0, 0, 0, -1)), "four sizes"),
        (lambda: padding(pads=(0, 0, 0, 1 << 20)), "four sizes"),
        (lambda: padding(in_type=UINT8, value=-1), "is no UINT8"),
        (lambda: padding(value=2), "is no BIPOLAR"),
        (lambda: swg(kernel=(0, 3)), "kernel"),
        (lambda: swg(stride=(1, 0)), "stride"),
        (lambda: swg().out_shape((9,)), "not \\(height, width, channels\\)"),
        (lambda: padding().out_shape((9, 9)), "not \\(height, width, channels\\)"),
    ],
)
def test_what_is_refused(make: Any, reason: str) -> None:
    with pytest.raises(GraphFileError, match=reason):
        make()
