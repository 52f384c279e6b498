"""Random streams that belong to an image, whoever computes it and whatever comes with it."""

from __future__ import annotations

import numpy as np

# What a stream is for; two purposes never share one.
START, TARGET, SEARCH = 0, 1, 2


def image_stream(seed: int, purpose: int, index: int, run: int = 0) -> np.random.Generator:
    """Return the stream of one image.

    Args:
        seed: Of the attack.
        purpose: `START`, `TARGET` or `SEARCH`.
        index: Of the image in its data set.
        run: Number of the restart.
    """
    key = (purpose, index) if purpose == TARGET else (purpose, index, run)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def mixed(*numbers: int) -> int:
    """Return one seed for several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
