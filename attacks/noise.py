"""Random noise: what chance alone does inside the ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.query import SearchAttack, Task
from attacks.streams import SEARCH, image_stream
from attacks.threat import Norm
from hw.target import ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(SearchAttack):
    """Independent random images of the L∞ ball, alternately uniform and on its corners, until one fools.

    A gradient attack that does no better than this has no gradient to follow.
    """

    name: ClassVar[str] = "noise"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)

    max_queries: int = 100

    def search(self, task: Task) -> ImageArray:
        """Try until an image is fooled or has no query left."""
        found = task.originals.copy()
        limit = task.budget.limit(found.shape[1:])
        streams = [image_stream(self.seed, SEARCH, task.first_index + row) for row in range(len(found))]
        alive = np.flatnonzero(~task.success(task.clean, np.arange(len(found))))
        for attempt in range(task.oracle.limit - 1):
            if len(alive) == 0:
                break
            noise = np.stack([_noise(streams[row], found.shape[1:], limit, attempt) for row in alive])
            tried = np.clip(task.originals[alive].astype(np.int16) + noise, 0, 255).astype(np.uint8)
            fooled = task.success(task.oracle.logits(tried, alive), alive)
            found[alive[fooled]] = tried[fooled]
            alive = alive[~fooled]
        return found


def _noise(
    stream: np.random.Generator, shape: tuple[int, ...], limit: int, attempt: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    if attempt % 2 == 0:
        return stream.integers(-limit, limit, size=shape, endpoint=True, dtype=np.int16)
    return (stream.integers(0, 2, size=shape, dtype=np.int16) * 2 - 1) * np.int16(limit)
