"""Rounding changes onto the 8-bit grid without leaving a ball, in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def round_into_l2(change: npt.NDArray[np.float64], limit: int) -> npt.NDArray[np.float64]:
    """Return whole steps near a change whose squares sum to no more than the limit.

    Rounding to the nearest may leave the ball. Then the change is shortened by what rounding added, a few
    times; what is still outside is rounded towards 0.

    Args:
        change: float64 ``(M, P)`` in grey levels, each row inside the ball or next to it.
        limit: Largest sum of squares.
    """
    nearest = np.rint(change)
    # Squares of whole numbers up to 255 sum exactly in float64, in any order.
    spent = np.vecdot(nearest, nearest)
    outside = np.flatnonzero(spent > limit)
    scale = np.ones(len(change))
    for attempt in range(1, 5):
        if len(outside) == 0:
            return nearest
        # Rounding moves the norm by about 0.3 grey levels either way, so aim a little lower each time.
        scale[outside] *= np.sqrt(limit / spent[outside]) * max(1 - 0.15 * attempt / limit**0.5, 0.0)
        part = np.rint(change[outside] * scale[outside, None])
        nearest[outside] = part
        spent[outside] = np.vecdot(part, part)
        outside = outside[spent[outside] > limit]
    part = change[outside]
    length = np.sqrt(np.vecdot(part, part)) + 1e-12
    nearest[outside] = np.trunc(part * (np.minimum(np.sqrt(limit) / length, 1.0) * (1 - 1e-12))[:, None])
    return nearest
