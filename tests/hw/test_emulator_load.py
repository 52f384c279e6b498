"""An emulator that is handed another network computes that one, whether or not its layers are the same."""

from dataclasses import replace

import numpy as np
import pytest

from export.datatypes import DataType
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
