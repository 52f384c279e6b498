"""Random numbers of many images at once, from a counter instead of a state.

A stream of `numpy.random` for each image would cost a Python call an image and step. Here a number follows
from the seed, the purpose, the index of the image, the step and its place in the step, so that one call draws
for all images, and an image's numbers are the same whatever comes with it.

The mixing function is that of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), whose n-th output is a hash of ``key + n * gamma``.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from attacks.streams import mixed
from export.graph import IntArray

Words = npt.NDArray[np.uint64]

_GAMMA = np.array(0x9E3779B97F4A7C15, np.uint64)
_FIRST = np.array(0xBF58476D1CE4E5B9, np.uint64)
_SECOND = np.array(0x94D049BB133111EB, np.uint64)
# The median of each 256th part of the standard normal distribution, scaled to a variance of exactly 1.
_QUANTILES = np.array([NormalDist().inv_cdf((code + 0.5) / 256) for code in range(256)])
_NORMAL = (_QUANTILES / np.sqrt(np.mean(_QUANTILES**2))).astype(np.float32)


def mix(words: Words) -> Words:
    """Return a hash of each word, uint64 of the same shape (an array, at least ``(1,)``)."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


class Counter:
    """The random numbers of N images.

    Args:
        seed: Of the attack.
        purpose: One of the purposes of `attacks.streams`.
        first_index: Index of the first image in its data set.
        count: Number of images.
    """

    def __init__(self, seed: int, purpose: int, *, first_index: int, count: int) -> None:
        root = np.array([mixed(seed, purpose)], np.uint64)
        indices = np.arange(first_index, first_index + count, dtype=np.uint64)
        self._keys = mix(root + (indices + np.uint64(1)) * _GAMMA)

    def words(self, rows: IntArray, step: int | IntArray, count: int) -> Words:
        """Return ``count`` words for each image, uint64 ``(M, count)``.

        Args:
            rows: Images ``(M,)``, counted from the first one.
            step: Of the attack, one for all or one for each ``(M,)``; another step gives other words.
            count: Words of an image.
        """
        steps = np.broadcast_to(np.asarray(step, np.uint64) + np.uint64(1), rows.shape)
        keys = mix(self._keys[rows] + steps * _GAMMA)
        places = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
        return mix(keys[:, None] + places)

    def bytes(self, rows: IntArray, step: int | IntArray, count: int) -> npt.NDArray[np.uint8]:
        """Return ``count`` random bytes for each image, uint8 ``(M, count)``."""
        words = self.words(rows, step, -(-count // 8))
        return (
            words.astype("<u8", copy=False).view(np.uint8).reshape(len(rows), 8 * words.shape[1])[:, :count]
        )

    def bits(self, rows: IntArray, step: int | IntArray, count: int) -> npt.NDArray[np.uint8]:
        """Return ``count`` random bits for each image, uint8 ``(M, count)`` of 0 and 1."""
        return np.unpackbits(self.bytes(rows, step, -(-count // 8)), axis=1, count=count)

    def normal(self, rows: IntArray, step: int | IntArray, count: int) -> npt.NDArray[np.float32]:
        """Return ``count`` numbers of a normal distribution in 256 levels, float32 ``(M, count)``."""
        return _NORMAL[self.bytes(rows, step, count)]


def below(words: Words, limit: int) -> IntArray:
    """Return an integer from 0 to ``limit - 1`` for each word, int64; ``limit`` is below 2**31."""
    return ((words >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)).astype(np.int64)


def uniform(words: Words) -> npt.NDArray[np.float64]:
    """Return a float in [0, 1) for each word."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
