"""What memories cost: block RAMs and LUT sites by width and depth, and which of them synthesis takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Depth and width of an 18 kbit block RAM with one port to write and one to read (UG473 and UG573).
_BRAM18_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
# The same of four LUT sites with one port for both.
_ONE_PORT_SHAPES = ((32, 8), (64, 4), (128, 2), (256, 1))
# Yosys' own weights: an 18 kbit block RAM, four LUT sites of distributed RAM, a bit of a ROM in logic.
_BRAM18_WEIGHT, _LUTRAM_WEIGHT, _ROM_BIT_WEIGHT = 129, 8, 1 / 64
# Memories up to so many bits for each four LUT sites stay flip-flops; tried out, not documented.
_FLIP_FLOP_BITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCost:
    """What one memory becomes.

    Attributes:
        lutram: LUT sites.
        bram36: Block RAMs of 36 kbit.
        flip_flops: Bits that are flip-flops.
    """

    lutram: int = 0
    bram36: float = 0.0
    flip_flops: int = 0


def bram36(width_bits: int, depth: int) -> float:
    """Return block RAMs of 36 kbit of a memory; halves where one of 18 kbit is enough.

    Words beyond a whole number of block RAMs' depths may lie in block RAMs of another shape.
    """
    blocks = [math.ceil(width_bits / w) * math.ceil(depth / d) for d, w in _BRAM18_SHAPES]
    for d, w in _BRAM18_SHAPES:
        if 0 < depth % d < depth:
            rest = min(math.ceil(width_bits / v) * math.ceil(depth % d / e) for e, v in _BRAM18_SHAPES)
            blocks.append(math.ceil(width_bits / w) * (depth // d) + rest)
    return min(blocks) / 2


def is_block_rom(width_bits: int, depth: int) -> bool:
    """Tell whether synthesis puts a constant memory into block RAM if nothing says where it lies."""
    return _BRAM18_WEIGHT * 2 * bram36(width_bits, depth) < _ROM_BIT_WEIGHT * width_bits * depth


def lutram_sites(width_bits: int, depth: int) -> int:
    """Return LUT sites of a distributed memory: four for 32 words of 6 bits or 64 words of 3."""
    if depth <= 32:
        return 4 * math.ceil(width_bits / 6)
    return 4 * math.ceil(width_bits / 3) * math.ceil(depth / 64)


def one_port_sites(width_bits: int, depth: int) -> int:
    """Return LUT sites of a distributed memory that is read and written at the same address."""
    words, width = next(((d, w) for d, w in _ONE_PORT_SHAPES if d >= depth), _ONE_PORT_SHAPES[-1])
    return 4 * math.ceil(width_bits / width) * math.ceil(depth / words)


def written_memory(
    width_bits: int, depth: int, *, registered_read: bool = False, one_port: bool = False
) -> MemoryCost:
    """Return what a memory that the hardware writes becomes.

    Args:
        width_bits: Bits of a word.
        depth: Words.
        registered_read: Whether what is read goes into a register, as block RAM needs it.
        one_port: Whether it is read where it is written.
    """
    sites = one_port_sites(width_bits, depth) if one_port else lutram_sites(width_bits, depth)
    if width_bits * depth <= _FLIP_FLOP_BITS * sites / 4:
        return MemoryCost(flip_flops=width_bits * depth)
    blocks = bram36(width_bits, depth)
    if registered_read and _BRAM18_WEIGHT * 2 * blocks < _LUTRAM_WEIGHT * sites / 4:
        return MemoryCost(bram36=blocks)
    return MemoryCost(lutram=sites)


def rom_luts(width_bits: int, depth: int) -> float:
    """Return LUTs of a constant memory in logic: one for 64 words of a bit; none where it has one word."""
    if depth <= 1:
        return 0.0
    return width_bits * max(1.0, depth / 64)


def counter_bits(values: int) -> int:
    """Return the bits of a counter with that many values."""
    return max(1, (values - 1).bit_length()) if values > 1 else 0
