"""The generator against its authors' known answers, and what is drawn against what was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.draws import ROUNDS, draw_bytes, draw_weights, threefry2x32
from export.errors import InputError

PI = ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3))
ONES = ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF))
ZEROS = ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("rounds", "key_and_counter", "expected"),
    [
        (13, ZEROS, (0x9D1C5EC6, 0x8BD50731)),
        (13, ONES, (0xFD36D048, 0x2D17272C)),
        (13, PI, (0xBA3E4725, 0xF27D669E)),
        (20, ZEROS, (0x6B200159, 0x99BA4EFE)),
        (20, ONES, (0x1CB996FC, 0xBB002BE7)),
        (20, PI, (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers_of_the_generators_authors(rounds, key_and_counter, expected):
    key, (low, high) = key_and_counter
    words = threefry2x32(key, (np.array([low], np.uint32), np.array([high], np.uint32)), rounds)
    assert tuple(int(word[0]) for word in words) == expected


@settings(max_examples=30)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    layer=st.integers(0, 2**32 - 1),
    frame=st.integers(0, 2**40),
)
def test_a_byte_depends_on_its_place_alone(rows, columns, seed, layer, frame):
    found = draw_bytes(rows, columns, seed=seed, layer=layer, frame=frame)
    blocks = -(-columns // 8)
    for row, column in np.ndindex(found.shape):
        counter = (row * blocks + column // 8, frame % 2**32)
        words = threefry2x32((seed, layer), tuple(np.array([c], np.uint32) for c in counter), ROUNDS)
        block = int(words[0][0]) | int(words[1][0]) << 32
        assert found[row, column] == block >> 8 * (column % 8) & 0xFF


def test_the_means_set_the_frequencies():
    means = np.array([[-128, -64, 0, 64, 127]], np.int8)
    drawn = np.stack([draw_weights(means, seed=5, layer=1, frame=frame) for frame in range(4000)])
    assert set(np.unique(drawn)) == {-1, 1}
    share = (drawn[:, 0] > 0).mean(axis=0)
    expected = (means[0].astype(float) + 128) / 256
    assert share[0] == 0.0
    # Five standard deviations of a binomial share.
    assert np.all(np.abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-12)


def test_seeds_and_frames_out_of_range_are_refused():
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match="seed of drawn weights"):
            draw_bytes(1, 1, seed=seed, layer=0, frame=0)
    with pytest.raises(InputError, match="index of a frame"):
        draw_bytes(1, 1, seed=0, layer=0, frame=-1)
