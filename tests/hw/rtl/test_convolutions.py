"""Whole generated convolutional accelerators against the golden model, under random stalls."""

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import DataflowGraph, Flatten, FmPadding, Mvau, Pool, Swg, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.timing import simulate_frames
from hw.verilator import Stalls

INT4, INT8, UINT2 = DataType("INT4"), DataType("INT8"), DataType("UINT2")


class Builder:
    """Appends nodes of random content; the (PE, SIMD) of each layer go with it."""

    def __init__(self, rng, shape):
        self.rng, self.input_shape, self.shape = rng, shape, shape
        self.nodes, self.folds = [], {}
        self.last, self.dtype = "images", UINT8

    def add(self, kind, **fields):
        node = kind(name=f"{kind.__name__.lower()}_{len(self.nodes)}", input=self.last, **fields)
        self.nodes.append(node)
        self.shape, self.last, self.dtype = node.out_shape(self.shape), node.name, node.out_type
        return self

    def binarise(self):
        thresholds = Thresholds(steps=np.array([[128]]))
        return self.add(Thresholding, in_type=self.dtype, thresholds=thresholds)

    def pad(self, size, value):
        return self.add(FmPadding, in_type=self.dtype, pads=(size,) * 4, value=value)

    def windows(self, kernel, stride=(1, 1)):
        return self.add(Swg, in_type=self.dtype, kernel=kernel, stride=stride)

    def pool(self, kernel, stride=None):
        return self.add(Pool, in_type=self.dtype, kernel=kernel, stride=stride or kernel)

    def flatten(self):
        return self.add(Flatten, in_type=self.dtype)

    def layer(self, rows, pe, simd, weight_type=BIPOLAR, out_type=BIPOLAR, last=False):
        columns = self.shape[-1]
        shape = (rows, columns)
        if weight_type == BIPOLAR:
            weights = 2 * self.rng.integers(0, 2, shape) - 1
        else:
            weights = self.rng.integers(weight_type.minimum, weight_type.maximum + 1, shape)
        reach = int(np.sqrt(columns) * np.abs(weights).mean() * max(1, self.dtype.maximum / 2)) + 1
        levels = 1 if out_type == BIPOLAR else out_type.maximum
        steps = np.sort(self.rng.integers(-reach, reach, (rows, levels)), axis=1)
        self.add(
            Mvau,
            in_type=self.dtype,
            weights=weights.astype(np.int8),
            weight_type=weight_type,
            thresholds=None if last else Thresholds(steps=steps, out_type=out_type),
            scale=self.rng.integers(-9, 90, rows) if last else None,
            bias=self.rng.integers(-500, 500, rows) if last else None,
        )
        self.folds[self.last] = LayerFolding(pe=pe, simd=simd)
        return self

    def build(self):
        graph = DataflowGraph(input_shape=self.input_shape, nodes=tuple(self.nodes))
        return graph, Folding(self.folds)


def binary_network(rng):
    """Zero and -1 padding, an overlapping and a plain pool, all weights ±1."""
    net = Builder(rng, (7, 6, 2)).binarise().pad(1, 0).windows((3, 3)).layer(6, 3, 2)
    net.pad(1, -1).windows((3, 2), (2, 1)).layer(4, 2, 3).pool((2, 3), (1, 2))
    return net.flatten().layer(5, 5, 2, last=True).build()


def integer_network(rng):
    """Images of bytes, INT8 and INT4 weights, streams of several bits, strides that leave pixels over."""
    net = Builder(rng, (8, 9, 3)).windows((3, 3)).layer(4, 4, 3, INT8, UINT2)
    net.pool((2, 2)).pad(1, 0).windows((2, 2), (2, 2)).layer(6, 2, 4, INT4)
    return net.flatten().layer(4, 1, 6, INT4, last=True).build()


def wide_network(rng):
    """SIMD beyond the channels, and a padded image."""
    net = Builder(rng, (5, 5, 1)).pad(2, 7).windows((3, 3), (2, 2)).layer(2, 2, 9)
    return net.pool((2, 2)).windows((2, 2)).layer(4, 1, 8).flatten().layer(3, 3, 4, last=True).build()


NETWORKS = {"binary": binary_network, "integer": integer_network, "wide": wide_network}


@pytest.fixture
def rng():
    return np.random.default_rng(20261124)


@pytest.mark.parametrize("name", NETWORKS)
def test_hardware_computes_what_the_golden_model_does(name, rng):
    graph, folding = NETWORKS[name](rng)
    images = rng.integers(0, 256, (12, *graph.input_shape)).astype(np.uint8)
    target, reference = RtlTarget(graph, folding, workers=1), ReferenceTarget(graph)
    expected = reference.infer(images).logits
    result, timing = target.infer(images), simulate_frames(graph, folding, len(images))
    np.testing.assert_array_equal(result.logits, expected)
    np.testing.assert_array_equal(result.cycles, timing.cycles)
    assert set(np.diff(timing.last_out_cycle)[4:]) == {folding.ii_cycles(graph)}
    stalled = target.stream(images, Stalls(source=0.3, sink=0.4, seed=3))
    np.testing.assert_array_equal(stalled.logits, expected)


def test_a_trace_shows_every_node(rng):
    graph, folding = integer_network(rng)
    images = rng.integers(0, 256, (2, *graph.input_shape)).astype(np.uint8)
    expected = ReferenceTarget(graph).trace(images)
    for name, values in RtlTarget(graph, folding, workers=1).trace(images).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
