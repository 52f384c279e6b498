"""How the Square attack moves: all images at once, each square of one size at a place of its own."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from attacks.counter import Counter, below
from attacks.gridball import round_into_l2
from attacks.query import BoolArray
from export.graph import IntArray
from hw.target import ImageArray

FloatArray = npt.NDArray[np.float64]


class LinfBall:
    """Images of the L∞ ball whose every value is at an end of its range.

    Args:
        originals: uint8 ``(N, H, W, C)``.
        rows: The originals that are searched, int64 ``(M,)``.
        limit: Radius in grey levels, at least 1.

    Attributes:
        rows: int64 ``(M,)``.
        images: uint8 ``(M, H, W, C)``, as they are to be asked.
    """

    def __init__(self, originals: ImageArray, rows: IntArray, *, limit: int) -> None:
        self._shape = originals.shape[1:]
        self._size = math.prod(self._shape)
        self._end = originals.size
        wide = originals.astype(np.int16)
        # The lower ends of all images, then the upper ones.
        ends = np.stack([np.maximum(wide - limit, 0), np.minimum(wide + limit, 255)])
        self._ends = ends.astype(np.uint8).ravel()
        self.rows = rows
        self.images = originals[rows]
        self._places = np.zeros((0, 0), np.int64)
        self._old = np.zeros((0, 0), np.uint8)

    def start(self, random: Counter) -> None:
        """Begin with vertical stripes, each column and channel at a random end."""
        height, width, channels = self._shape
        sign = random.bits(self.rows, 0, width * channels).astype(np.int64)
        base = self.rows[:, None] * self._size + sign * self._end
        columns = np.arange(width * channels)
        starts = np.arange(height) * width * channels
        places = base[:, None, :] + (starts[:, None] + columns)
        self.images = self._ends[places].reshape(-1, *self._shape)

    def side(self, share: float) -> int:
        """Return the side of a square of a share of the pixels."""
        height, width, _ = self._shape
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)

    def propose(self, random: Counter, step: int, side: int) -> None:
        """Change one square of each image to a random end in each channel, other than it is."""
        channels = self._shape[2]
        words = random.words(self.rows, step, 3)
        corner = _corners(words[:, 0], words[:, 1], self._shape, side)
        inner = corner[:, None] + _offsets(self._shape, side)
        self._places = inner + (np.arange(len(self.rows)) * self._size)[:, None]
        self._old = self.images.reshape(-1)[self._places]
        code = below(words[:, 2], 1 << channels)
        outer = inner + (self.rows * self._size)[:, None]
        new = self._values(outer, code)
        same = (new == self._old).all(axis=1)
        if same.any():
            # Any other signs: the bits that turn over are not all 0.
            turned = code[same] ^ (1 + below(words[same, 2] << np.uint64(32), (1 << channels) - 1))
            new[same] = self._values(outer[same], turned)
        self.images.reshape(-1)[self._places] = new

    def _values(self, places: IntArray, code: IntArray) -> npt.NDArray[np.uint8]:
        """Return the ends that the bits of a code choose, channel by channel, at places ``(M, P)``."""
        channels = self._shape[2]
        if channels == 1:
            return self._ends[places + (code * self._end)[:, None]]
        sign = code[:, None] >> np.arange(channels) & 1
        return self._ends[places + np.tile(sign * self._end, places.shape[1] // channels)]

    def restore(self, rejected: BoolArray) -> None:
        """Take back the last square of some images."""
        self.images.reshape(-1)[self._places[rejected]] = self._old[rejected]

    def keep(self, kept: BoolArray) -> None:
        """Go on with some of the images."""
        self.rows, self.images = self.rows[kept], self.images[kept]


class L2Ball:
    """Images of the L2 ball: a window gets a bump, paid for by another window and what the budget has left.

    Args:
        originals: uint8 ``(N, H, W, C)``.
        rows: The originals that are searched, int64 ``(M,)``.
        limit: Largest sum of squared grey levels, at least 1.

    Attributes:
        rows: int64 ``(M,)``.
        images: uint8 ``(M, H, W, C)``, as they are to be asked.
    """

    def __init__(self, originals: ImageArray, rows: IntArray, *, limit: int) -> None:
        self._shape = originals.shape[1:]
        self._size = math.prod(self._shape)
        self._limit = limit
        self._originals = originals[rows].reshape(len(rows), -1).astype(np.float64)
        self.rows = rows
        self.images = originals[rows]
        self._before = self.images

    def start(self, random: Counter) -> None:
        """Begin with a grid of bumps, each of a random sign in each channel."""
        height, width, channels = self._shape
        side = max(min(height, width) // 5, 1)
        across, down = width // side, height // side
        bits = random.bits(self.rows, 0, down * across * (channels + 1)).reshape(
            -1, down, across, channels + 1
        )
        patterns = np.stack([bump(side), bump(side).T])[bits[..., channels]]
        sign = bits[..., :channels].astype(np.float64) * 2 - 1
        tiles = patterns[..., None] * sign[:, :, :, None, None, :]
        change = np.zeros((len(self.rows), *self._shape), np.float64)
        inside = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(-1, down * side, across * side, channels)
        change[:, : down * side, : across * side] = inside
        self._put(change.reshape(len(self.rows), -1))

    def side(self, share: float) -> int:
        """Return the side of a window of a share of the pixels: odd, at least 3 where the image allows."""
        height, width, _ = self._shape
        side = max(round(math.sqrt(share * height * width)), 3) | 1
        return min(side, height, width)

    def propose(self, random: Counter, step: int, side: int) -> None:
        """Move the change of one window of each image into a bump in another."""
        channels = self._shape[2]
        count = len(self.rows)
        words = random.words(self.rows, step, 5)
        offsets = _offsets(self._shape, side)
        first = _corners(words[:, 0], words[:, 1], self._shape, side)[:, None] + offsets
        second = _corners(words[:, 2], words[:, 3], self._shape, side)[:, None] + offsets
        change = self.images.reshape(count, -1) - self._originals
        old = np.take_along_axis(change, first, axis=1).reshape(count, -1, channels)
        spent = np.vecdot(change, change)
        # What either window holds, per channel: the first one's, then the second's once the first is empty.
        freed = (old**2).sum(axis=1)
        np.put_along_axis(change, first, 0.0, axis=1)
        freed += (np.take_along_axis(change, second, axis=1).reshape(count, -1, channels) ** 2).sum(axis=1)
        np.put_along_axis(change, second, 0.0, axis=1)
        signs = below(words[:, 4], 1 << (channels + 1))
        patterns = np.stack([bump(side).ravel(), bump(side).T.ravel()])[signs & 1]
        sign = ((signs[:, None] >> np.arange(1, channels + 1) & 1) * 2 - 1).astype(np.float64)
        new = patterns[:, :, None] * sign[:, None, :]
        new += old / (np.sqrt((old**2).sum(axis=(1, 2), keepdims=True)) + 1e-12)
        spare = np.maximum(self._limit - spent, 0.0)[:, None] / channels
        length = np.sqrt((new**2).sum(axis=1)) + 1e-12
        new *= (np.sqrt(spare + freed) / length)[:, None, :]
        np.put_along_axis(change, first, new.reshape(count, -1), axis=1)
        self._before = self.images
        self._put(change)

    def _put(self, change: FloatArray) -> None:
        """Scale changes ``(M, P)`` to the sphere, and round them into the ball and the pixel range."""
        length = np.sqrt(np.vecdot(change, change)) + 1e-12
        change *= (math.sqrt(self._limit) / length)[:, None]
        change += self._originals
        np.clip(change, 0.0, 255.0, out=change)
        change -= self._originals
        steps = round_into_l2(change, self._limit)
        steps += self._originals
        self.images = steps.astype(np.uint8).reshape(-1, *self._shape)

    def restore(self, rejected: BoolArray) -> None:
        """Take back the last move of some images."""
        self.images[rejected] = self._before[rejected]

    def keep(self, kept: BoolArray) -> None:
        """Go on with some of the images."""
        self.rows, self.images = self.rows[kept], self.images[kept]
        self._originals = self._originals[kept]


@cache
def bump(side: int) -> FloatArray:
    """Return a window's pattern of norm 1, float64 ``(side, side)``: a hill above a valley.

    A hill of ``h`` by ``w`` pixels is a sum of nested rectangles around its middle, the k-th of them, counted
    from the outside, of height ``1 / (n + 1 - k)**2`` with ``n = h // 2`` (section 3.3 of the paper).
    """
    top = side // 2
    hills = [_hill(top, side), -_hill(side - top, side)] if top else [np.ones((1, 1))]
    pattern = np.concatenate(hills)
    return pattern / np.linalg.norm(pattern)


def _hill(height: int, width: int) -> npt.NDArray[np.float64]:
    middle = height // 2
    # Rectangles that hold a pixel: fewer the farther it is from the middle, in either direction.
    away_rows = np.abs(np.arange(height) - (height - 1) / 2)
    away_columns = np.abs(np.arange(width) - (width - 1) / 2)
    away = np.maximum(away_rows[:, None], away_columns[None, :] * height / width)
    held = np.maximum(middle - np.floor(away).astype(np.int64), 0)
    heights = 1.0 / (middle + 1 - np.arange(middle + 1)) ** 2
    return np.cumsum(heights)[held]


def _corners(
    down: npt.NDArray[np.uint64], across: npt.NDArray[np.uint64], shape: tuple[int, ...], side: int
) -> IntArray:
    """Return where squares begin in a flat image, int64 ``(M,)``."""
    height, width, channels = shape
    return (below(down, height - side + 1) * width + below(across, width - side + 1)) * channels


@cache
def _offsets(shape: tuple[int, int, int], side: int) -> IntArray:
    """Return the places of a square's values behind its corner in a flat image, int64 ``(side**2 * C,)``."""
    _, width, channels = shape
    rows = np.arange(side)[:, None] * (width * channels)
    return (rows + np.arange(side * channels)).ravel()
