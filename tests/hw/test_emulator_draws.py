"""Weights drawn for each frame, in the emulator against the golden model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType
from export.draws import draw_weights
from export.errors import InputError
from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Swg,
    Thresholding,
    Thresholds,
)
from hw.emulator import EmulatorTarget
from hw.reference import ReferenceTarget


def _means(rng, mh, mw):
    means = rng.integers(-128, 128, (mh, mw)).astype(np.int8)
    means[rng.random(means.shape) < 0.1] = -128
    means[rng.random(means.shape) < 0.1] = 127
    return means


@st.composite
def stochastic_graphs(draw):
    """A padded convolution and two dense layers with drawn weights, on any type of input."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 1, 2]))
    channels = groups * draw(st.sampled_from([1, 5, 8, 24, 64, 65, 72]))
    shape = (draw(st.integers(2, 6)), draw(st.integers(2, 6)), channels)
    nodes, source, stream, size = [], INPUT_TENSOR, UINT8, shape

    def add(make, **fields):
        nonlocal source, stream, size
        node = make(name=f"node_{len(nodes)}", input=source, in_type=stream, **fields)
        nodes.append(node)
        source, stream, size = node.name, node.out_type, node.out_shape(size)

    def product(mh, types, groups=1):
        fields = {"weights": _means(rng, mh, size[-1] // groups), "draw": len(nodes), "groups": groups}
        kind = draw(st.sampled_from(types))
        if kind is None:
            fields["scale"], fields["bias"] = rng.integers(-9, 9, mh), rng.integers(-99, 99, mh)
        else:
            out_type = DataType(kind)
            levels = 1 if out_type.is_bipolar else out_type.maximum - out_type.minimum
            bare = Mvau(name="bare", input=source, in_type=stream, **fields)
            low, high = bare.accumulator_range
            steps = np.sort(rng.integers(low // 3, high // 3 + 1, (mh, levels)), axis=1)
            bias = 0 if out_type.is_bipolar else out_type.minimum
            fields["thresholds"] = Thresholds(steps=steps, out_type=out_type, out_bias=bias)
        add(Mvau, **fields)

    if draw(st.booleans()):
        add(Thresholding, thresholds=Thresholds(steps=np.array([[128]])))
    if draw(st.booleans()):
        add(FmPadding, pads=draw(st.sampled_from([(1, 1, 1, 1), (0, 1, 2, 0)])))
    add(Swg, kernel=(2, 2), stride=draw(st.sampled_from([(1, 1), (1, 2)])), groups=groups)
    neurons = groups * draw(st.sampled_from([1, 8, 9, 16, 40]))
    product(neurons, ["BIPOLAR", "BIPOLAR", "UINT2", "INT2", None], groups)
    add(Flatten)
    product(draw(st.integers(1, 20)), ["BIPOLAR", None, "INT3"])
    product(draw(st.integers(1, 9)), [None, "UINT4"])
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


def _images(graph, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_shape)).astype(np.uint8)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    graph=stochastic_graphs(),
    count=st.sampled_from([0, 1, 3, 6]),
    seed=st.sampled_from([0, 1, 0xDEADBEEF, 2**32 - 1]),
    first_frame=st.sampled_from([0, 7, 2**32 - 2, 2**40]),
)
def test_every_stream_equals_the_golden_model(library, isa, graph, count, seed, first_frame):
    images = _images(graph, count)
    golden = ReferenceTarget(graph, seed=seed).trace(images, first_frame)
    target = EmulatorTarget(graph, isa=isa, seed=seed, threads=2, library=library)
    np.testing.assert_array_equal(target.infer(images, first_frame).logits, golden[graph.nodes[-1].name])
    traced = target.trace(images, first_frame)
    for name, stream in golden.items():
        np.testing.assert_array_equal(traced[name], stream, err_msg=name)


def _layer(means, draw):
    """A layer that shows its weights: inputs are one-hot bytes."""
    nodes = (
        Flatten(name="flat", input=INPUT_TENSOR, in_type=UINT8),
        Mvau(name="last", input="flat", in_type=UINT8, weights=means, draw=draw),
    )
    return DataflowGraph(input_shape=(means.shape[1], 1, 1), nodes=nodes)


def test_a_layer_shows_the_weights_of_each_frame(library, isa):
    """Frame by frame, without the golden model: the same image, and other weights each time."""
    means = _means(np.random.default_rng(0), 11, 77)
    target = EmulatorTarget(_layer(means, 3), isa=isa, seed=9, library=library)
    images = np.zeros((50, 77, 1, 1), np.uint8)
    images[np.arange(50), np.arange(50)] = 1
    shown = target.infer(images, first_frame=100).logits
    expected = [draw_weights(means, seed=9, layer=3, frame=100 + i)[:, i] for i in range(50)]
    np.testing.assert_array_equal(shown, expected)


def test_frames_do_not_depend_on_batches_and_threads(library):
    means = _means(np.random.default_rng(1), 40, 300)
    graph = _layer(means, 0)
    images = _images(graph, 301)
    whole = EmulatorTarget(graph, seed=5, threads=3, library=library).infer(images, 12).logits
    target = EmulatorTarget(graph, seed=5, threads=1, library=library)
    parts = [
        target.infer(images[first : first + 50], 12 + first).logits for first in range(0, len(images), 50)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_certain_weights_are_certain_and_others_follow_their_mean(library):
    means = np.repeat(np.array([[-128], [0], [64], [127]], np.int8), 64, axis=1)
    images = np.full((2000, 64, 1, 1), 1, np.uint8)
    sums = EmulatorTarget(_layer(means, 1), library=library).infer(images).logits
    assert np.all(sums[:, 0] == -64)
    # Means w of 128,000 weights: the standard error is below sqrt(1 / 128,000) = 0.0028.
    np.testing.assert_allclose(sums.mean(axis=0) / 64, [-1, 0, 0.5, 127 / 128], atol=0.012)


def test_a_bad_seed_or_frame_is_an_input_error(library):
    graph = _layer(np.ones((2, 3), np.int8), 0)
    with pytest.raises(InputError, match="seed"):
        EmulatorTarget(graph, seed=1 << 32, library=library)
    target = EmulatorTarget(graph, library=library)
    with pytest.raises(InputError, match="frame"):
        target.infer(np.zeros((1, 3, 1, 1), np.uint8), first_frame=-1)


def test_bipolar_inputs_need_no_other_limits(library, isa):
    """The plain path: bits in, bits out, weights drawn into the same words."""
    rng = np.random.default_rng(2)
    sign = Thresholds(steps=np.zeros((1, 1), np.int64))
    nodes = (
        Thresholding(
            name="binary",
            input=INPUT_TENSOR,
            in_type=UINT8,
            thresholds=Thresholds(steps=np.array([[128]], np.int64)),
        ),
        Flatten(name="flat", input="binary", in_type=BIPOLAR),
        Mvau(
            name="drawn", input="flat", in_type=BIPOLAR, weights=_means(rng, 70, 130), draw=0, thresholds=sign
        ),
        Mvau(name="last", input="drawn", in_type=BIPOLAR, weights=_means(rng, 3, 70), draw=2**32 - 1),
    )
    graph = DataflowGraph(input_shape=(130, 1, 1), nodes=nodes)
    images = _images(graph, 40)
    logits = EmulatorTarget(graph, isa=isa, seed=4, library=library).infer(images, 3).logits
    np.testing.assert_array_equal(logits, ReferenceTarget(graph, seed=4).infer(images, 3).logits)
