"""Balls around images in NumPy: the nearest point inside, and the nearest one of the 8-bit grid."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from attacks.threat import Budget, Norm
from export.graph import IntArray
from hw.target import ImageArray

FloatArray = npt.NDArray[np.float32]


class GridBall:
    """The L∞ or L2 balls around M images, cut with the pixel range.

    Args:
        budget: What is measured and how far.
        images: uint8 ``(M, H, W, C)``.

    Attributes:
        originals: float32 ``(M, P)``, grey levels.
    """

    def __init__(self, budget: Budget, images: ImageArray) -> None:
        self._norm = budget.norm
        self._limit = budget.limit(images.shape[1:])
        size = math.prod(images.shape[1:])
        self.originals: FloatArray = images.reshape(len(images), size).astype(np.float32)

    def take(self, kept: npt.NDArray[np.bool_]) -> GridBall:
        """Return the balls of some of the images."""
        part = object.__new__(GridBall)
        part._norm, part._limit, part.originals = self._norm, self._limit, self.originals[kept]
        return part

    def nearest(self, position: FloatArray) -> FloatArray:
        """Return points inside, float32 ``(M, P)``: the nearest in L∞, towards the original in L2."""
        if self._norm is Norm.LINF:
            low = np.maximum(self.originals - np.float32(self._limit), np.float32(0))
            high = np.minimum(self.originals + np.float32(self._limit), np.float32(255))
            return np.clip(position, low, high)
        change = np.clip(position, np.float32(0), np.float32(255)) - self.originals
        length = np.sqrt(np.vecdot(change, change)) + np.float32(1e-12)
        scale = np.minimum(np.float32(self._limit**0.5) / length, np.float32(1))
        return self.originals + change * scale[:, None]

    def on_grid(self, position: FloatArray) -> ImageArray:
        """Return uint8 values ``(M, P)`` inside and next to points that are inside."""
        if self._norm is Norm.LINF:
            return np.rint(position).astype(np.uint8)
        change = round_into_l2(position.astype(np.float64) - self.originals, self._limit)
        return (self.originals + change).astype(np.uint8)


def round_into_l2(change: npt.NDArray[np.float64], limit: int | IntArray) -> npt.NDArray[np.float64]:
    """Return whole steps near a change whose squares sum to no more than the limit.

    Rounding to the nearest may leave the ball. Then the change is shortened by what rounding added, a few
    times; what is still outside is rounded towards 0.

    Args:
        change: float64 ``(M, P)`` in grey levels, each row inside the ball or next to it.
        limit: Largest sum of squares, one for all or one for each row.
    """
    nearest = np.rint(change)
    limits = np.broadcast_to(np.asarray(limit, np.float64), len(change))
    # Squares of whole numbers up to 255 sum exactly in float64, in any order.
    spent = np.vecdot(nearest, nearest)
    outside = np.flatnonzero(spent > limits)
    scale = np.ones(len(change))
    for attempt in range(1, 5):
        if len(outside) == 0:
            return nearest
        # Rounding moves the norm by about 0.3 grey levels either way, so aim a little lower each time.
        radius = np.sqrt(limits[outside])
        short = np.maximum(1 - 0.15 * attempt / np.maximum(radius, 1.0), 0.0)
        scale[outside] *= radius / np.sqrt(spent[outside]) * short
        part = np.rint(change[outside] * scale[outside, None])
        nearest[outside] = part
        spent[outside] = np.vecdot(part, part)
        outside = outside[spent[outside] > limits[outside]]
    part = change[outside]
    length = np.sqrt(np.vecdot(part, part)) + 1e-12
    shrunk = np.minimum(np.sqrt(limits[outside]) / length, 1.0) * (1 - 1e-12)
    nearest[outside] = np.trunc(part * shrunk[:, None])
    return nearest
