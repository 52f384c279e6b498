"""Buffers that live at the same time never share memory."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hw.emulator.memory import ALIGNMENT, block_images, lay_out


@st.composite
def programs(draw):
    """Steps that write a buffer each and read up to two before it, of which some have no place here."""
    count = draw(st.integers(1, 12))
    steps = []
    for target in range(1, count + 1):
        reads = [draw(st.integers(0, target - 1)) for _ in range(draw(st.integers(1, 2)))]
        steps.append((target, reads))
    placed = draw(st.sets(st.integers(1, count)))
    return steps, {buffer: draw(st.integers(0, 300)) for buffer in placed}


@given(program=programs(), images=st.integers(1, 5))
def test_live_buffers_are_apart(program, images):
    steps, sizes = program
    layout = lay_out(steps, sizes, images)
    assert set(layout.offsets) == set(sizes)
    reads = {buffer: [i for i, (_, sources) in enumerate(steps) if buffer in sources] for buffer in sizes}
    spans = {buffer: (buffer - 1, max([buffer - 1, *reads[buffer]])) for buffer in sizes}
    for first, second in itertools.combinations(sizes, 2):
        if spans[first][0] <= spans[second][1] and spans[second][0] <= spans[first][1]:
            low, high = sorted((first, second), key=layout.offsets.__getitem__)
            assert layout.offsets[low] + sizes[low] * images < layout.offsets[high]
    for buffer, size in sizes.items():
        assert layout.offsets[buffer] % ALIGNMENT == 0
        assert layout.offsets[buffer] + size * images <= layout.size


def test_a_chain_needs_two_buffers_at_a_time():
    steps = [(1, [0]), (2, [1]), (3, [2]), (4, [3])]
    assert lay_out(steps, dict.fromkeys(range(1, 5), 63), 1).size == 2 * ALIGNMENT


def test_a_branch_keeps_its_buffer():
    steps = [(1, [0]), (2, [1]), (3, [2]), (4, [3, 1]), (5, [4])]
    layout = lay_out(steps, dict.fromkeys(range(1, 6), 63), 1)
    assert layout.offsets[1] not in [layout.offsets[buffer] for buffer in (2, 3, 4)]
    assert layout.size == 3 * ALIGNMENT


def test_small_images_fill_the_nearest_cache_and_large_ones_come_alone():
    assert block_images(0) == 128
    assert block_images(1024) == 32
    assert block_images(20_000) == 4
    assert block_images(10_000_000) == 1
