"""The golden model against plain loops over single pixels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, TERNARY
from export.graph import FmPadding, Mvau, Pool, Swg
from hw.reference import compute_node

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
