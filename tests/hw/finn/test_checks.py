"""Differences are counted, and one that is known is named."""

from __future__ import annotations

import numpy as np

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Thresholding
from export.nodes import Thresholds
from hw.build import Build
from hw.finn.checks import check_stage, explain, images_counting_past, one_bit_borders
from hw.finn.flow import StageResult
from hw.reference import ReferenceTarget


def stage(logits: np.ndarray) -> StageResult:
    return StageResult(
        name="hardware", operators=(), logits=logits.astype(np.float64), labels=logits.argmax(axis=1)
    )


def test_equal_logits_and_labels() -> None:
    logits = np.array([[1, 2, 2], [0, -1, -5]])
    check = check_stage(stage(logits), logits, "clean", {})
    assert check.equal
    assert (check.count, check.wrong_logits, check.largest_difference) == (2, 0, 0)
    assert check.to_json()["equal"] is True


def test_what_differs_is_counted() -> None:
    expected = np.array([[1, 2, 2], [0, -1, -5], [3, 1, 1]])
    found = expected.copy()
    found[0] = [4, 2, 3]
    found[1, 2] = -4
    check = check_stage(stage(found), expected, "clean", {})
    assert not check.equal
    assert (check.wrong_images, check.wrong_logits, check.wrong_labels) == (2, 3, 1)
    assert (check.largest_difference, check.reason) == (3, "")


def test_a_label_alone_is_a_difference() -> None:
    expected = np.array([[2, 2, 1]])
    other = StageResult(
        name="hardware", operators=(), logits=expected.astype(np.float64), labels=np.array([1])
    )
    check = check_stage(other, expected, "clean", {})
    assert (check.equal, check.wrong_images, check.wrong_labels) == (False, 0, 1)


def test_another_number_of_logits_is_wrong_throughout() -> None:
    check = check_stage(stage(np.zeros((2, 4))), np.zeros((2, 3), np.int64), "clean", {})
    assert (check.wrong_images, check.wrong_logits, check.largest_difference) == (2, 6, None)


def test_a_border_of_minus_one_is_the_reason(padded_build: Build) -> None:
    graph = padded_build.graph
    images = np.random.default_rng(0).integers(0, 256, (16, *graph.input_shape), dtype=np.uint8)
    expected = ReferenceTarget(graph).infer(images).logits
    known = explain(graph, images, ["FMPadding_rtl_0"])
    ((reason, padded),) = known.items()
    assert "with -1 in FMPadding_rtl_0" in reason
    assert (padded != expected).any()
    assert [node.value for node in one_bit_borders(graph)] == [0]
    assert check_stage(stage(padded), expected, "clean", known).reason == reason
    other = padded.copy()
    other[0, 0] += 1
    assert check_stage(stage(other), expected, "clean", known).reason == ""


def test_halves_rounded_up_are_the_reason() -> None:
    """Sums of ±1 over 8 inputs are even; the scale is 4, so that 2, 6 and 10 lie halfway."""
    weights = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (5, 8))
    to_even, up = (
        Thresholds(steps=np.array([row]), out_type=DataType("UINT2")) for row in ([4, 6, 12], [2, 6, 10])
    )
    first = Thresholding(
        name="t", input=INPUT_TENSOR, in_type=UINT8, thresholds=Thresholds(steps=np.array([[128]]))
    )
    flat = Flatten(name="f", input="t", in_type=BIPOLAR)
    graphs = []
    for thresholds in (to_even, up):
        hidden = Mvau(name="a", input="f", in_type=BIPOLAR, weights=weights, thresholds=thresholds)
        last = Mvau(
            name="b", input="a", in_type=DataType("UINT2"), weights=np.eye(3, 5, dtype=np.int8) * 2 - 1
        )
        graphs.append(DataflowGraph(input_shape=(2, 2, 2), nodes=(first, flat, hidden, last)))
    images = np.random.default_rng(1).integers(0, 256, (200, 2, 2, 2), dtype=np.uint8)
    expected, found = (ReferenceTarget(graph).infer(images).logits for graph in graphs)
    assert (expected != found).any()
    check = check_stage(stage(found), expected, "clean", explain(graphs[0], images))
    assert "halfway up" in check.reason


def test_nothing_is_known_of_a_network_without_either(dense_build: Build) -> None:
    images = np.zeros((1, *dense_build.graph.input_shape), np.uint8)
    assert explain(dense_build.graph, images) == {}


def test_images_that_count_past_a_type_are_found(dense_build: Build) -> None:
    graph = dense_build.graph
    images = np.random.default_rng(2).integers(0, 256, (50, *graph.input_shape), dtype=np.uint8)
    layer = next(graph.mvaus)
    signs = ReferenceTarget(graph).trace(images)[layer.input]
    agreeing = (signs[:, None, :] == layer.weights[None]).sum(axis=2).max(axis=1)
    for holds in (0, 15, 18, layer.mw):
        assert images_counting_past(graph, images, 0, holds) == (agreeing > holds).sum()
    assert 0 < (agreeing > 18).sum() < 50
