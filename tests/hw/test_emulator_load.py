"""An emulator that is handed another network computes that one, whether or not its layers are the same."""

from dataclasses import replace

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.emulator import EmulatorTarget
from hw.reference import ReferenceTarget


@pytest.fixture
def images():
    return np.random.default_rng(3).integers(0, 256, (50, 70, 1, 1), dtype=np.uint8)


def with_flipped_weight(graph, row, column):
    node = graph.nodes[-2]
    weights = node.weights.copy()
    weights[row, column] *= -1
    nodes = (*graph.nodes[:-2], replace(node, weights=weights), graph.nodes[-1])
    return replace(graph, nodes=nodes)


@pytest.mark.parametrize("hidden", ["BIPOLAR", "INT2"])
def test_flipped_weights_are_replaced_in_place(build_mlp, library, isa, images, hidden):
    graph = build_mlp((70, 33, 9, 4), hidden=DataType(hidden))
    target = EmulatorTarget(graph, threads=1, isa=isa, library=library)
    clean = target.trace(images)
    for row, column in ((0, 0), (8, 32), (5, 17)):
        faulty = with_flipped_weight(graph, row, column)
        target.load(faulty)
        expected = ReferenceTarget(faulty).trace(images)
        assert not np.array_equal(expected["mvau_1"], clean["mvau_1"])
        assert np.array_equal(target.infer(images).logits, expected["mvau_2"])
        assert np.array_equal(target.trace(images)["mvau_1"], expected["mvau_1"])
    target.load(graph)
    assert np.array_equal(target.infer(images).logits, clean["mvau_2"])


def test_a_network_of_other_layers_gets_an_engine_of_its_own(build_mlp, library, images):
    target = EmulatorTarget(build_mlp((70, 8, 4)), threads=1, library=library)
    target.infer(images)
    other = build_mlp((70, 12, 7, 3), seed=1)
    target.load(other)
    assert np.array_equal(target.infer(images).logits, ReferenceTarget(other).infer(images).logits)


def test_there_is_nothing_behind_the_constants(build_mlp, library):
    target = EmulatorTarget(build_mlp((70, 8, 4)), library=library)
    with pytest.raises(ValueError, match="no 8 bytes"):
        target._engine.patch(1 << 40, bytes(8))


@pytest.mark.parametrize("groups", [1, 3])
def test_flips_turn_single_weights_until_they_end(library, isa, images, groups):
    draw = np.random.default_rng(8)
    signs = np.array([-1, 1], np.int8)
    binarise = Thresholding(
        name="start", input="images", in_type=UINT8, thresholds=Thresholds(steps=np.array([[128]]))
    )
    flat = Flatten(name="flat", input="start", in_type=BIPOLAR)
    steps = draw.integers(-5, 6, (15, 1))
    hidden = Mvau(
        name="hidden",
        input="flat",
        in_type=BIPOLAR,
        groups=groups,
        weights=draw.choice(signs, (15, 420 // groups)),
        thresholds=Thresholds(steps=steps),
    )
    last = Mvau(name="last", input="hidden", in_type=BIPOLAR, weights=draw.choice(signs, (4, 15)))
    graph = DataflowGraph(input_shape=(70, 1, 6), nodes=(binarise, flat, hidden, last))
    pixels = draw.integers(0, 256, (50, 70, 1, 6), dtype=np.uint8)
    target = EmulatorTarget(graph, threads=1, isa=isa, library=library)
    clean = target.infer(pixels).logits
    flips = [(row, int(draw.integers(420 // groups))) for row in range(15)]
    weights = hidden.weights.copy()
    for row, column in flips:
        weights[row, column] *= -1
    expected = ReferenceTarget(replace(graph, nodes=(binarise, flat, replace(hidden, weights=weights), last)))
    twice = [("last", 0, 0), ("last", 0, 0)]
    with target.flipped([*(("hidden", *flip) for flip in flips), *twice]):
        assert np.array_equal(target.infer(pixels).logits, expected.infer(pixels).logits)
    assert np.array_equal(target.infer(pixels).logits, clean)
    assert not np.array_equal(expected.infer(pixels).logits, clean)


def test_only_single_bits_are_flipped(build_mlp, library):
    target = EmulatorTarget(build_mlp((70, 8, 4), input_type=UINT8), library=library)
    with pytest.raises(ValueError, match="not single bits"), target.flipped([("mvau_0", 0, 0)]):
        pass
    with pytest.raises(ValueError, match="no weight 4, 0"), target.flipped([("mvau_1", 4, 0)]):
        pass
