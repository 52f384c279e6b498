from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.counter import Counter, below, mix, uniform


def test_mixing_is_splitmix64():
    # The first outputs of the generator with state 0, as published with it.
    state = np.array([1, 2, 3], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert [hex(word) for word in mix(state)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


@given(first=st.integers(0, 2**40), count=st.integers(1, 9), step=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_numbers_belong_to_the_image_not_to_the_batch(first, count, step):
    whole = Counter(3, 2, first_index=first, count=count)
    rows = np.arange(count)
    words = whole.words(rows, step, 5)
    for row in range(count):
        alone = Counter(3, 2, first_index=first + row, count=1)
        np.testing.assert_array_equal(alone.words(np.array([0]), step, 5)[0], words[row])
    np.testing.assert_array_equal(whole.words(rows, np.full(count, step), 5), words)
    np.testing.assert_array_equal(whole.words(rows[::-1], step, 3), words[::-1, :3])


@pytest.mark.parametrize("other", [(4, 2, 0, 7), (3, 1, 0, 7), (3, 2, 1, 7), (3, 2, 0, 8)])
def test_seed_purpose_index_and_step_each_matter(other):
    def words(seed, purpose, first, step):
        return Counter(seed, purpose, first_index=first, count=1).words(np.array([0]), step, 4)

    assert not np.any(words(3, 2, 0, 7) == words(*other))


def test_distributions():
    random = Counter(0, 2, first_index=0, count=200)
    rows = np.arange(200)
    assert abs(random.bits(rows, 1, 500).mean() - 0.5) < 0.01
    assert abs(random.bytes(rows, 1, 500).mean() - 127.5) < 1
    normal = random.normal(rows, 1, 500)
    assert abs(normal.mean()) < 0.02
    assert abs(normal.var() - 1) < 0.02
    words = random.words(rows, 2, 500)
    drawn = below(words, 7)
    assert drawn.min() == 0
    assert drawn.max() == 6
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / drawn.size, 1 / 7, atol=0.005)
    assert 0 <= uniform(words).min() < 0.001 < 0.999 < uniform(words).max() < 1


def test_neighbours_are_not_correlated():
    random = Counter(0, 2, first_index=0, count=64)
    bits = random.bits(np.arange(64), 0, 1024).astype(float) * 2 - 1
    following = random.bits(np.arange(64), 1, 1024).astype(float) * 2 - 1
    off = bits @ bits.T / 1024 - np.eye(64)
    assert np.abs(off).max() < 0.16
    assert abs((bits * following).mean()) < 0.02
