"""Faulty memories as networks: the right bit changes, in the number that hardware holds."""

from dataclasses import replace

import numpy as np
import pytest

from attacks.faults.apply import apply_faults
from attacks.faults.model import (
    ActivationFault,
    Effect,
    ThresholdFault,
    WeightFault,
    fault_from_json,
    fault_to_json,
)
from export.datatypes import UINT8, DataType
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Thresholding, Thresholds


def node_of(graph: DataflowGraph, name: str):
    return next(node for node in graph.nodes if node.name == name)


def single(node: Mvau, shape: tuple[int, int, int]) -> DataflowGraph:
    flat = Flatten(name="flat", input=INPUT_TENSOR, in_type=UINT8)
    last = Mvau(
        name="last",
        input=node.name,
        in_type=node.out_type,
        weights=np.ones((2, node.mh), np.int8),
    )
    return DataflowGraph(input_shape=shape, nodes=(flat, node, last))


@pytest.mark.parametrize(
    ("effect", "expected"), [(Effect.FLIP, -1), (Effect.STUCK_AT_0, -1), (Effect.STUCK_AT_1, 1)]
)
def test_one_weight_changes(binarised_graph, effect, expected):
    weights = node_of(binarised_graph, "mvau_1").weights
    row, column = np.argwhere(weights == 1)[3]
    fault = WeightFault(node="mvau_1", row=int(row), column=int(column), effect=effect)
    faulty = node_of(apply_faults(binarised_graph, [fault]), "mvau_1").weights
    assert faulty[row, column] == expected
    assert int((faulty != weights).sum()) == int(expected != 1)


def test_the_same_flip_twice_is_none(binarised_graph):
    fault = ThresholdFault(node="mvau_0", channel=5, bit=2)
    twice = apply_faults(binarised_graph, [fault, fault])
    steps = [node_of(graph, "mvau_0").thresholds.steps for graph in (binarised_graph, twice)]
    assert np.array_equal(*steps)


def test_thresholds_between_counts_change_in_the_count(binarised_graph):
    old = int(node_of(binarised_graph, "mvau_0").thresholds.steps[2, 0])
    count = -((-old - 24) // 2)
    fault = ThresholdFault(node="mvau_0", channel=2, bit=3)
    new = int(node_of(apply_faults(binarised_graph, [fault]), "mvau_0").thresholds.steps[2, 0])
    assert -((-new - 24) // 2) == count ^ 8


def test_the_sign_bit_of_a_sum_s_threshold_is_the_accumulator_s():
    steps = np.array([[5], [-7], [100]])
    node = Mvau(
        name="first",
        input="flat",
        in_type=UINT8,
        weights=np.ones((3, 4), np.int8),
        thresholds=Thresholds(steps=steps),
    )
    # 8 bits of input, 1 of weight, 3 that count four inputs: 12 bits.
    faults = [
        ThresholdFault(node="first", channel=0, bit=11),
        ThresholdFault(node="first", channel=1, bit=11),
    ]
    found = node_of(apply_faults(single(node, (2, 2, 1)), faults), "first").thresholds.steps
    assert found.ravel().tolist() == [5 - 2048, -7 + 2048, 100]


def test_thresholds_that_no_longer_ascend_are_counted_all_the_same():
    node = Mvau(
        name="first",
        input="flat",
        in_type=UINT8,
        weights=np.ones((1, 1), np.int8),
        thresholds=Thresholds(steps=np.array([[10, 20, 30]]), out_type=DataType("UINT2")),
    )
    fault = ThresholdFault(node="first", channel=0, level=0, bit=5)
    faulty = node_of(apply_faults(single(node, (1, 1, 1)), [fault]), "first")
    assert faulty.thresholds.steps.tolist() == [[20, 30, 42]]
    sums = np.arange(60)[:, None]
    expected = sum((sums >= level).astype(int) for level in (42, 20, 30))
    assert np.array_equal(faulty.thresholds.apply(sums), expected)


def test_a_threshold_that_all_share_changes_for_one_channel_alone():
    shared = Thresholds(steps=np.array([[128]]))
    nodes = (
        Thresholding(name="binarise", input=INPUT_TENSOR, in_type=UINT8, thresholds=shared),
        Flatten(name="flat", input="binarise", in_type=shared.out_type),
        Mvau(name="last", input="flat", in_type=shared.out_type, weights=np.ones((2, 3), np.int8)),
    )
    graph = DataflowGraph(input_shape=(1, 1, 3), nodes=nodes)
    faulty = apply_faults(graph, [ThresholdFault(node="binarise", channel=1, bit=8)])
    assert node_of(faulty, "binarise").thresholds.steps.ravel().tolist() == [128, 384, 128]


def test_integer_weights_are_twos_complement_and_means_are_bytes(binarised_graph):
    last = node_of(binarised_graph, "mvau_1")
    integer = replace(last, weights=np.full((12, 16), 3, np.int8), weight_type=DataType("INT4"))
    drawn = replace(last, weights=np.full((12, 16), -128, np.int8), draw=0)
    for node, bit, expected in ((integer, 3, -5), (drawn, 7, 0)):
        nodes = tuple(node if other.name == node.name else other for other in binarised_graph.nodes)
        faults = [WeightFault(node="mvau_1", row=0, column=0, bit=bit)]
        faulty = apply_faults(replace(binarised_graph, nodes=nodes), faults)
        assert node_of(faulty, "mvau_1").weights[0, 0] == expected


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (WeightFault(node="mvau_9", row=0, column=0), "no node"),
        (WeightFault(node="flatten_0", row=0, column=0), "no weights"),
        (WeightFault(node="mvau_0", row=16, column=0), "no neuron 16"),
        (WeightFault(node="mvau_0", row=0, column=24), "no input 24"),
        (WeightFault(node="mvau_0", row=0, column=0, bit=1), "no bit of a weight 1"),
        (ThresholdFault(node="mvau_2", channel=0), "no thresholds"),
        (ThresholdFault(node="mvau_0", channel=0, level=1), "no threshold 1"),
        (ThresholdFault(node="mvau_0", channel=0, bit=5), "no bit of a threshold 5"),
        (ActivationFault(node="mvau_0", element=0), "in no memory"),
    ],
)
def test_what_is_not_there_is_refused(binarised_graph, fault, words):
    with pytest.raises(InputError, match=words):
        apply_faults(binarised_graph, [fault])


def test_a_wider_stream_of_sums_is_refused():
    last = Mvau(
        name="last",
        input="flat",
        in_type=UINT8,
        weights=np.array([[1, 0], [0, 0]], np.int8),
        weight_type=DataType("INT8"),
    )
    flat = Flatten(name="flat", input=INPUT_TENSOR, in_type=UINT8)
    graph = DataflowGraph(input_shape=(1, 1, 2), nodes=(flat, last))
    with pytest.raises(InputError, match="INT15, hardware has INT9"):
        apply_faults(graph, [WeightFault(node="last", row=1, column=1, bit=6)])
    narrower = apply_faults(graph, [WeightFault(node="last", row=0, column=0, bit=0)])
    assert node_of(narrower, "last").weights.tolist() == [[0, 0], [0, 0]]


def test_faults_are_read_back_from_json():
    faults = [
        WeightFault(node="a", row=1, column=2, bit=3, effect=Effect.STUCK_AT_1),
        ThresholdFault(node="b", channel=4),
        ActivationFault(node="c", element=5, effect=Effect.STUCK_AT_0),
    ]
    assert [fault_from_json(fault_to_json(fault)) for fault in faults] == faults
    with pytest.raises(InputError, match="no fault"):
        fault_from_json({"kind": "weight", "node": "a"})
