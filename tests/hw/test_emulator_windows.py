"""Convolutions, padding and pooling of the emulator against the golden model, on every instruction set."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
)
from hw.emulator import EmulatorTarget
from hw.reference import ReferenceTarget


class Builder:
    """Appends nodes to a chain."""

    def __init__(self, shape, rng):
        self.input_shape = self.shape = shape
        self.nodes, self.rng = [], rng
        self.source, self.stream = INPUT_TENSOR, UINT8

    def add(self, make, **fields):
        node = make(name=f"node_{len(self.nodes)}", input=self.source, in_type=self.stream, **fields)
        self.source, self.stream, self.shape = node.name, node.out_type, node.out_shape(self.shape)
        self.nodes.append(node)

    def binarise(self):
        steps = self.rng.integers(1, 256, (self.shape[-1], 1))
        self.add(Thresholding, thresholds=Thresholds(steps=steps))

    def dense(self, mh, weight_type=BIPOLAR, out_type=BIPOLAR, *, last=False):
        low, high = weight_type.minimum, weight_type.maximum
        weights = self.rng.integers(low, high + 1, (mh, self.shape[-1])).astype(np.int8)
        if weight_type.is_bipolar:
            weights = np.where(weights < 0, -1, 1).astype(np.int8)
            weights[self.rng.random(weights.shape) < 0.4] = 1
        if last:
            scale, bias = self.rng.integers(-9, 9, mh), self.rng.integers(-99, 99, mh)
            self.add(Mvau, weights=weights, weight_type=weight_type, scale=scale, bias=bias)
            return
        levels = (
            1 if out_type.is_bipolar else int(self.rng.integers(1, out_type.maximum - out_type.minimum + 1))
        )
        sums = 2 * self.rng.random((mh, levels)) - 1
        spread = np.abs(weights.astype(np.int64)).sum(axis=1, keepdims=True) ** 0.5
        largest = max(abs(self.stream.minimum), self.stream.maximum)
        middle = weights.sum(axis=1, keepdims=True, dtype=np.int64) * (
            0 if self.stream.minimum < 0 else largest / 2
        )
        steps = np.sort(np.rint(middle + 2 * sums * spread * largest).astype(np.int64), axis=1)
        thresholds = Thresholds(
            steps=steps, out_type=out_type, out_bias=0 if out_type.is_bipolar else out_type.minimum
        )
        self.add(Mvau, weights=weights, weight_type=weight_type, thresholds=thresholds)

    def convolution(self, mh, kernel, stride, pads, value, weight_type=BIPOLAR, out_type=BIPOLAR):
        if max(pads) > 0:
            self.add(FmPadding, pads=pads, value=value)
        kernel = tuple(min(size, limit) for size, limit in zip(kernel, self.shape, strict=False))
        self.add(Swg, kernel=kernel, stride=stride)
        self.dense(mh, weight_type, out_type)

    def pool(self, kernel, stride):
        kernel = tuple(min(size, limit) for size, limit in zip(kernel, self.shape, strict=False))
        self.add(Pool, kernel=kernel, stride=stride)

    def finish(self, classes=5, weight_type=BIPOLAR):
        self.add(Flatten)
        self.dense(classes, weight_type, last=True)
        return DataflowGraph(input_shape=self.input_shape, nodes=tuple(self.nodes))


_sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))
_strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
_types = st.sampled_from(["BIPOLAR", "BIPOLAR", "BIPOLAR", "UINT2", "UINT4", "INT3", "UINT1"])
_weights = st.sampled_from(["BIPOLAR", "BIPOLAR", "INT2", "INT8"])


@st.composite
def convolutional_graphs(draw):
    """Chains of convolutions and pools of every type, size and padding."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(3, 11)), draw(st.integers(3, 11))
    builder = Builder((height, width, draw(st.sampled_from([1, 3, 5, 64, 65]))), rng)
    if draw(st.booleans()):
        builder.binarise()
    for _ in range(draw(st.integers(1, 3))):
        pads = draw(st.one_of(st.just((0, 0, 0, 0)), st.tuples(*[st.integers(0, 2)] * 4)))
        low, high = builder.stream.minimum, builder.stream.maximum
        value = draw(st.sampled_from([0, 0, low, high]))
        channels = draw(st.sampled_from([1, 7, 9, 64, 64, 65, 128]))
        weight_type, out_type = DataType(draw(_weights)), DataType(draw(_types))
        builder.convolution(channels, draw(_sizes), draw(_strides), pads, value, weight_type, out_type)
        if draw(st.booleans()):
            builder.pool(draw(_sizes), draw(_strides))
    return builder.finish(draw(st.integers(1, 20)), DataType(draw(_weights)))


def _images(graph, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_shape)).astype(np.uint8)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(graph=convolutional_graphs(), count=st.sampled_from([1, 3, 6]))
def test_every_stream_equals_the_golden_model(library, isa, graph, count):
    images = _images(graph, count)
    golden = ReferenceTarget(graph).trace(images)
    target = EmulatorTarget(graph, isa=isa, library=library)
    np.testing.assert_array_equal(target.infer(images).logits, golden[graph.nodes[-1].name])
    traced = target.trace(images)
    assert list(traced) == list(golden)
    for name, stream in golden.items():
        np.testing.assert_array_equal(traced[name], stream, err_msg=name)
