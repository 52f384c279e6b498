from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import GraphFileError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Thresholding, Thresholds


def steps(*rows: Any) -> Any:
    return np.asarray(rows, np.int64)


def mvau(name: str = "mvau_0", read: str = "flatten_0", width: int = 6, height: int = 2, **more: Any) -> Mvau:
    weights = np.ones((height, width), np.int8)
    return Mvau(**{"name": name, "input": read, "in_type": UINT8, "weights": weights, **more})


def graph(*nodes: Any, shape: Any = (2, 3, 1)) -> DataflowGraph:
    return DataflowGraph(input_shape=shape, nodes=nodes)


FLATTEN = Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8)


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=6), st.integers(-30, 30))
def test_thresholds_count(levels: list[int], value: int) -> None:
    thresholds = Thresholds(steps=steps(sorted(levels)), out_type=DataType("INT8"), out_bias=-3)
    wanted = -3 + sum(level <= value for level in levels)
    assert thresholds.apply(np.asarray([[value]])).item() == wanted


def test_bipolar_thresholds_fire_at_equality() -> None:
    fired = Thresholds(steps=steps([3], [-1])).apply(np.asarray([[2, -1], [3, -2]]))
    assert fired.tolist() == [[-1, 1], [1, -1]]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Thresholds(steps=np.zeros((2, 1))), "int64"),  # pyright: ignore[reportArgumentType]
        (lambda: Thresholds(steps=steps()), "int64"),
        (lambda: Thresholds(steps=steps([1, 2])), "exactly one"),
        (lambda: Thresholds(steps=steps([2, 1]), out_type=UINT8), "ascend"),
        (lambda: Thresholds(steps=steps([1, 2]), out_type=DataType("UINT1")), "past the range"),
        (lambda: Thresholds(steps=steps([1]), out_type=UINT8, out_bias=-1), "past the range"),
        (lambda: mvau(weights=np.ones((2, 6))), "int8"),
        (lambda: mvau(weights=np.zeros((2, 6), np.int8)), "BIPOLAR weight is 0"),
        (lambda: mvau(weights=np.full((2, 6), 3, np.int8)), "range of BIPOLAR"),
        (lambda: mvau(weights=np.full((2, 6), 2, np.int8), weight_type=DataType("INT2")), "range of INT2"),
        (lambda: mvau(thresholds=Thresholds(steps=steps([1], [2], [3]))), "3 threshold rows for 2"),
        (
            lambda: mvau(thresholds=Thresholds(steps=steps([1])), bias=np.zeros(2, np.int64)),
            "without thresholds",
        ),
        (lambda: mvau(scale=np.zeros(3, np.int64)), "scale must be int64"),
        (lambda: mvau(bias=np.zeros(2)), "bias must be int64"),
        (lambda: mvau(in_type=DataType("INT64")), "53 bits"),
        (lambda: mvau(in_type=DataType("UINT64")), "53 bits"),
        (lambda: mvau(scale=np.full(2, 2**62, np.int64)), "62"),
    ],
)
def test_nodes_that_make_no_sense(make: Any, reason: str) -> None:
    with pytest.raises(GraphFileError, match=reason):
        make()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: graph(), "no nodes"),
        (lambda: graph(FLATTEN, shape=(2, 0, 1)), "input shape"),
        (lambda: graph(FLATTEN, FLATTEN), "two nodes are named"),
        (lambda: graph(FLATTEN, mvau(read="ghost")), "no node before it writes"),
        (lambda: graph(mvau(), FLATTEN), "no node before it writes"),
        (lambda: graph(FLATTEN, mvau(in_type=BIPOLAR)), "expects BIPOLAR"),
        (lambda: graph(FLATTEN, mvau(width=5)), "MW 5"),
        (lambda: graph(mvau(read=INPUT_TENSOR, width=1)), "one vector of logits"),
        (
            lambda: graph(
                Thresholding(
                    name="t", input=INPUT_TENSOR, in_type=UINT8, thresholds=Thresholds(steps=steps([1], [2]))
                ),
                FLATTEN,
            ),
            "2 threshold rows for 1",
        ),
    ],
)
def test_graphs_that_make_no_sense(make: Any, reason: str) -> None:
    with pytest.raises(GraphFileError, match=reason):
        make()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["BIPOLAR", "UINT8", "INT4", "UINT1"]))
def test_accumulator_range_is_reached(seed: int, in_type: str) -> None:
    rng = np.random.default_rng(seed)
    kind = DataType(in_type)
    weights = rng.integers(-7, 8, (3, 4)).astype(np.int8)
    node = mvau(weights=weights, weight_type=DataType("INT4"), in_type=kind)
    highest = np.where(weights > 0, kind.maximum, kind.minimum)
    lowest = np.where(weights > 0, kind.minimum, kind.maximum)
    sums = [(weights.astype(np.int64) * ends).sum(axis=1) for ends in (lowest, highest)]
    assert node.accumulator_range == (sums[0].min(), sums[1].max())
    assert node.out_type.minimum <= node.accumulator_range[0]
    assert node.accumulator_range[1] <= node.out_type.maximum


def test_scale_and_bias_widen_the_output() -> None:
    node = mvau(scale=np.asarray([-3, 5], np.int64), bias=np.asarray([7, -9], np.int64))
    assert node.out_type.minimum <= -3 * 6 * 255 - 9
    assert node.out_type.maximum >= 5 * 6 * 255 + 7


def test_summary_shapes_and_macs() -> None:
    net = graph(FLATTEN, mvau(height=3), shape=(2, 3, 1))
    assert (net.classes, net.macs, net.shapes["flatten_0"]) == (3, 18, (6,))
    lines = net.summary().splitlines()
    assert [line.split()[0] for line in lines] == ["node", "flatten_0", "mvau_0"]
    assert [node.name for node in net.mvaus] == ["mvau_0"]


def test_huge_shapes_do_not_wrap() -> None:
    with pytest.raises(GraphFileError, match="MW 6"):
        graph(FLATTEN, replace(mvau(), input="flatten_0"), shape=(2**40, 2**40, 1))
