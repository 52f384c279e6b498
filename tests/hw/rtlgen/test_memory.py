import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, TERNARY, UINT8, DataType
from export.graph import Mvau, Thresholds
from hw.rtlgen.memory import (
    accumulator_width,
    hex_words,
    offset_words,
    stream_threshold_words,
    threshold_words,
    weight_words,
)


def decode(text, fields, width):
    """Read a memory file as ``$readmemh`` does, and split its words; unsigned."""
    words = [int(line, 16) for line in text.splitlines()]
    return [[(word >> (i * width)) & ((1 << width) - 1) for i in range(fields)] for word in words]


def test_hex_words_puts_field_0_in_the_low_bits():
    assert hex_words(np.array([[1, 2, 3], [-1, 0, 5]]), 4) == "321\n50f\n"


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.randoms(use_true_random=False))
def test_hex_words_holds_every_field(width, fields, words, random):
    values = [
        [random.randrange(-(1 << (width - 1)), 1 << (width - 1)) for _ in range(fields)] for _ in range(words)
    ]
    expected = [[value & ((1 << width) - 1) for value in row] for row in values]
    assert decode(hex_words(np.array(values, np.int64), width), fields, width) == expected


@pytest.mark.parametrize("value", [-9, 16])
def test_hex_words_refuses_what_does_not_fit(value):
    with pytest.raises(ValueError, match="do not fit 4 bits"):
        hex_words(np.array([[value]]), 4)


@given(st.sampled_from([(1, 1), (2, 3), (3, 2), (6, 4), (1, 12)]))
def test_weight_words_place_each_weight(fold):
    pe, simd = fold
    weights = (2 * np.random.default_rng(pe).integers(0, 2, (6, 12)) - 1).astype(np.int8)
    node = Mvau(name="n", input="i", in_type=BIPOLAR, weights=weights)
    words = weight_words(node, pe, simd)
    sf = 12 // simd
    for row, column in np.ndindex(6, 12):
        word, bit = (row // pe) * sf + column // simd, (row % pe) * simd + column % simd
        assert words[word, bit] == (weights[row, column] > 0)


def test_integer_weights_keep_their_values():
    weights = np.array([[-8, 7, 0], [1, -1, 3]], np.int8)
    node = Mvau(name="n", input="i", in_type=UINT8, weights=weights, weight_type=DataType("INT4"))
    assert weight_words(node, 2, 3).tolist() == [[-8, 7, 0, 1, -1, 3]]
    assert weight_words(node, 1, 1).ravel().tolist() == weights.ravel().tolist()


@pytest.mark.parametrize("in_type", [BIPOLAR, TERNARY, UINT8, DataType("INT4")])
@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("mw", [1, 3, 8, 63])
def test_accumulators_of_integer_weights_hold_one_more_than_the_greatest_sum(in_type, bits, mw):
    kind = DataType(f"INT{bits}")
    weights = np.full((1, mw), kind.minimum, np.int8)
    node = Mvau(name="n", input="i", in_type=in_type, weights=weights, weight_type=kind)
    steps = np.array([[-(2**62), 2**62]])
    reach = mw * max(-in_type.minimum, in_type.maximum) << (bits - 1)
    assert reach + 1 < 1 << (accumulator_width(node) - 1)
    assert threshold_words(node, Thresholds(steps=steps, out_type=DataType("UINT2")), 1).tolist() == [
        [-reach, reach + 1]
    ]


@pytest.mark.parametrize("in_type", [BIPOLAR, UINT8, DataType("INT4"), DataType("UINT3")])
@pytest.mark.parametrize("mw", [1, 2, 3, 6, 7, 8, 63, 64, 784])
def test_accumulators_hold_one_more_than_the_greatest_sum(in_type, mw):
    node = Mvau(name="n", input="i", in_type=in_type, weights=np.ones((1, mw), np.int8))
    width = accumulator_width(node)
    if in_type.is_bipolar:
        assert mw + 1 < 1 << width
    else:
        bound = mw * max(-in_type.minimum, in_type.maximum)
        assert bound + 1 < 1 << (width - 1)


@pytest.mark.parametrize("mw", [5, 8])
def test_bipolar_thresholds_count_agreements(mw):
    """A neuron fires for the same sums, however far away its threshold is."""
    steps = np.array([[t] for t in [-(2**62), *range(-mw - 2, mw + 3), 2**62]])
    weights = np.ones((len(steps), mw), np.int8)
    node = Mvau(name="n", input="i", in_type=BIPOLAR, weights=weights)
    words = threshold_words(node, Thresholds(steps=steps), pe=1)
    for row, count in np.ndindex(len(steps), mw + 1):
        assert (count >= words[row, 0]) == (2 * count - mw >= steps[row, 0])
    assert words.min() >= 0
    assert words.max() == mw + 1


def test_offsets_hold_bias_and_the_bipolar_offset():
    node = Mvau(
        name="n", input="i", in_type=BIPOLAR, weights=np.ones((2, 7), np.int8), bias=np.array([10, -20])
    )
    assert offset_words(node, 1, with_bias=True).tolist() == [[3], [-27]]
    assert offset_words(node, 2, with_bias=False).tolist() == [[-7, -7]]


@pytest.mark.parametrize(("rows", "lanes"), [(1, 5), (3, 4), (6, 3), (4, 4), (2, 1)])
def test_stream_thresholds_repeat_by_channel(rows, lanes):
    steps = np.arange(rows)[:, None] * 10
    words = stream_threshold_words(Thresholds(steps=steps), UINT8, lanes)
    repeated = np.tile(words.ravel(), rows)
    assert [int(t) for t in repeated] == [10 * (i % rows) for i in range(len(repeated))]
    assert stream_threshold_words(Thresholds(steps=np.full((rows, 1), 300)), UINT8, lanes).tolist() == [
        [256] * lanes
    ]


def test_thresholds_of_a_bipolar_stream_are_in_its_bits():
    steps = np.array([[-9, -1, 0, 1, 2, 9]])
    (words,) = stream_threshold_words(Thresholds(steps=steps, out_type=DataType("UINT3")), BIPOLAR, 1)
    for bit, sign in ((0, -1), (1, 1)):
        assert [bit >= word for word in words] == [sign >= step for step in steps[0]]
    assert set(words) == {0, 1, 2}
