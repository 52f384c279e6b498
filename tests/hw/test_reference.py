"""The golden model against plain loops over single pixels."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, TERNARY, UINT8, DataType
from export.draws import draw_weights
from export.graph import Add, DataflowGraph, Flatten, FmPadding, Mvau, Pool, Swg
from hw.reference import ReferenceTarget, compute_node

SIZES = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4))
WINDOWS = st.tuples(st.integers(1, 3), st.integers(1, 3))


def signs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1]), shape)


@settings(max_examples=60)
@given(
    size=SIZES,
    kernel=WINDOWS,
    stride=WINDOWS,
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    seed=st.integers(0, 99),
)
def test_a_padded_convolution_counts_the_pixels_that_exist(size, kernel, stride, pads, seed):
    top, left, bottom, right = pads
    if kernel[0] > size[0] + top + bottom or kernel[1] > size[1] + left + right:
        return
    images = signs((2, *size), seed)
    weights = signs((3, kernel[0] * kernel[1] * size[2]), seed + 1).astype(np.int8)
    padding = FmPadding(name="p", input="x", in_type=BIPOLAR, pads=pads)
    swg = Swg(name="s", input="p", in_type=TERNARY, kernel=kernel, stride=stride)
    mvau = Mvau(name="m", input="s", in_type=TERNARY, weights=weights)
    found = compute_node(mvau, compute_node(swg, compute_node(padding, images)))
    taps = weights.reshape(3, *kernel, size[2])
    for image, y, x, neuron in np.ndindex(found.shape):
        total = 0
        for ky, kx in itertools.product(range(kernel[0]), range(kernel[1])):
            row, column = y * stride[0] + ky - top, x * stride[1] + kx - left
            if 0 <= row < size[0] and 0 <= column < size[1]:
                total += int(images[image, row, column] @ taps[neuron, ky, kx].astype(np.int64))
        assert found[image, y, x, neuron] == total


@settings(max_examples=40)
@given(size=SIZES, kernel=WINDOWS, stride=WINDOWS, seed=st.integers(0, 99))
def test_a_pool_keeps_the_greatest_of_each_channel(size, kernel, stride, seed):
    if kernel[0] > size[0] or kernel[1] > size[1]:
        return
    values = np.random.default_rng(seed).integers(-9, 10, (2, *size))
    found = compute_node(Pool(name="p", input="x", in_type=BIPOLAR, kernel=kernel, stride=stride), values)
    for image, y, x, channel in np.ndindex(found.shape):
        rows = slice(y * stride[0], y * stride[0] + kernel[0])
        columns = slice(x * stride[1], x * stride[1] + kernel[1])
        assert found[image, y, x, channel] == values[image, rows, columns, channel].max()


@pytest.mark.parametrize("value", [-1, 1])
def test_a_sign_may_be_padded_with_a_sign(value):
    padding = FmPadding(name="p", input="x", in_type=BIPOLAR, pads=(1, 0, 0, 2), value=value)
    found = compute_node(padding, np.full((1, 1, 1, 1), -value))
    assert found[0, :, :, 0].tolist() == [[value, value, value], [-value, value, value]]


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    groups=st.integers(1, 3),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    kernel=WINDOWS,
    seed=st.integers(0, 99),
)
def test_a_neuron_of_a_group_sees_the_channels_of_its_group(size, groups, inputs, outputs, kernel, seed):
    if kernel[0] > size[0] or kernel[1] > size[1]:
        return
    images = signs((2, *size, groups * inputs), seed)
    weights = signs((groups * outputs, kernel[0] * kernel[1] * inputs), seed + 1).astype(np.int8)
    swg = Swg(name="s", input="x", in_type=BIPOLAR, kernel=kernel, groups=groups)
    mvau = Mvau(name="m", input="s", in_type=BIPOLAR, weights=weights, groups=groups)
    found = compute_node(mvau, compute_node(swg, images))
    taps = weights.reshape(groups * outputs, *kernel, inputs)
    for image, y, x, neuron in np.ndindex(found.shape):
        first = neuron // outputs * inputs
        window = images[image, y : y + kernel[0], x : x + kernel[1], first : first + inputs]
        assert found[image, y, x, neuron] == (window * taps[neuron]).sum()


def test_a_pool_sums_and_its_type_holds_every_sum():
    pool = Pool(name="p", input="x", in_type=BIPOLAR, kernel=(2, 3), stride=(2, 3), mode="sum")
    values = signs((1, 4, 6, 2), 3)
    found = compute_node(pool, values)
    assert found.tolist() == values.reshape(1, 2, 2, 2, 3, 2).sum(axis=(2, 4)).tolist()
    assert (pool.out_type.minimum, pool.out_type.maximum) == (-8, 7)


def test_two_streams_are_added_and_the_type_holds_every_sum():
    add = Add(name="a", input="x", in_type=DataType("UINT2"), other="y", other_type=BIPOLAR)
    left, right = np.arange(4).reshape(1, 4), np.array([[1, -1, 1, -1]])
    assert compute_node(add, left, right).tolist() == [[1, 0, 3, 2]]
    assert add.out_type == DataType("INT4")


def test_drawn_weights_follow_seed_and_frame():
    means = np.random.default_rng(0).integers(-128, 128, (3, 11)).astype(np.int8)
    mvau = Mvau(name="m", input="images", in_type=UINT8, weights=means, draw=2)
    graph = DataflowGraph(
        input_shape=(1, 1, 11),
        nodes=(Flatten(name="f", input="images", in_type=UINT8), replace(mvau, input="f")),
    )
    images = np.random.default_rng(1).integers(0, 256, (4, 1, 1, 11)).astype(np.uint8)
    whole = ReferenceTarget(graph, seed=7).infer(images).logits
    rest = ReferenceTarget(graph, seed=7).infer(images[2:], first_frame=2).logits
    assert rest.tolist() == whole[2:].tolist()
    expected = [draw_weights(means, seed=7, layer=2, frame=i) @ images[i].reshape(-1) for i in range(4)]
    assert whole.tolist() == np.asarray(expected).tolist()
    assert ReferenceTarget(graph, seed=8).infer(images).logits.tolist() != whole.tolist()
    assert ReferenceTarget(graph).infer(images[:0]).logits.shape == (0, 3)
