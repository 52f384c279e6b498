"""Where the buffers of a plan lie in working memory: those that live at different times share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALIGNMENT = 64
# A block's streams should stay in the nearest cache beside the weights in use.
_BLOCK_BYTES = 32 * 1024
_MAX_BLOCK_IMAGES = 128
_TILE_IMAGES = 4
# Larger images come one at a time: a tile of them would leave the second cache.
_LARGE_IMAGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each buffer of a block of images begins.

    Attributes:
        offsets: Bytes from the beginning, multiples of `ALIGNMENT`, by buffer.
        size: Bytes of all.
    """

    offsets: dict[int, int]
    size: int


def lay_out(steps: Sequence[tuple[int, Sequence[int]]], sizes: Mapping[int, int], images: int) -> Layout:
    """Give each buffer the first free place when a step writes it, until the last step that reads it.

    Args:
        steps: The buffer that each step writes, and those that it reads.
        sizes: Bytes of one image in each buffer that needs a place.
        images: Images of a block.
    """
    last_use = {
        buffer: index for index, (target, sources) in enumerate(steps) for buffer in (target, *sources)
    }
    offsets: dict[int, int] = {}
    live: list[tuple[int, int, int]] = []  # begin, end, buffer; in order
    size = 0
    for index, (target, _) in enumerate(steps):
        if target in sizes:
            wanted = _round(sizes[target] * images)
            offsets[target] = begin = _first_gap(live, wanted)
            live = sorted([*live, (begin, begin + wanted, target)])
            size = max(size, begin + wanted)
        live = [place for place in live if last_use[place[2]] > index]
    return Layout(offsets=offsets, size=size)


def block_images(image_bytes: int) -> int:
    """Return how many images to compute at a time if all streams of one take ``image_bytes`` at once."""
    if image_bytes > _LARGE_IMAGE_BYTES:
        return 1
    fitting = _BLOCK_BYTES // max(1, image_bytes) // _TILE_IMAGES * _TILE_IMAGES
    return min(_MAX_BLOCK_IMAGES, max(_TILE_IMAGES, fitting))


def _round(size: int) -> int:
    # At least one byte between buffers, so that a sanitizer sees where one ends.
    return (size + ALIGNMENT) // ALIGNMENT * ALIGNMENT


def _first_gap(live: Sequence[tuple[int, int, int]], size: int) -> int:
    end = 0
    for begin, after, _ in live:
        if begin - end >= size:
            return end
        end = max(end, after)
    return end
