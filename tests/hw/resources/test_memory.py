import pytest

from hw.resources.memory import bram36, counter_bits, lutram_sites, rom_luts, written_memory


@pytest.mark.parametrize(
    ("width", "depth", "blocks"),
    [(36, 512, 0.5), (18, 1024, 0.5), (37, 512, 1.0), (1, 16384, 0.5), (512, 72, 7.5), (32, 36864, 36.0)],
)
def test_block_rams(width, depth, blocks):
    assert bram36(width, depth) == blocks


@pytest.mark.parametrize(("width", "depth", "sites"), [(6, 32, 4), (7, 32, 8), (3, 64, 4), (1, 512, 32)])
def test_distributed_memories(width, depth, sites):
    assert lutram_sites(width, depth) == sites


def test_a_memory_goes_where_it_is_cheapest():
    assert written_memory(1, 9).flip_flops == 9
    assert written_memory(8, 2).flip_flops == 16
    assert written_memory(2, 8).lutram == 4
    assert written_memory(8, 16).lutram == 8
    assert written_memory(8, 16, one_port=True).lutram == 4
    assert written_memory(32, 270, registered_read=True).bram36 == 0.5
    assert written_memory(32, 270).lutram == 220
    assert written_memory(8, 32, registered_read=True).lutram == 8


def test_constants_and_counters():
    assert rom_luts(10, 1) == 0
    assert rom_luts(10, 64) == 10
    assert rom_luts(10, 640) == 100
    assert [counter_bits(n) for n in (1, 2, 3, 4, 5)] == [0, 1, 2, 2, 3]
