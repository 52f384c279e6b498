"""How success grows with the number of queries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from attacks.base import AttackResult
from attacks.inputs import require, require_count
from export.graph import IntArray


def query_curve(result: AttackResult, limits: IntArray) -> npt.NDArray[np.float64]:
    """Return the share of the originals that are fooled within each number of queries, float64 ``(L,)``.

    An attack with a budget stops asking for an image that is fooled, so its count is the number of queries
    that success took. An attack that minimises goes on asking: its curve says nothing before its limit.

    Args:
        result: Of a black-box attack.
        limits: Numbers of queries, ``(L,)``.

    Raises:
        InputError: The attack asked no target, or a limit is negative.
    """
    if result.queries is None:
        require(False, "an attack with gradients has no curve over queries")
    require(bool(np.all(limits >= 0)), "a number of queries must not be negative")
    needed = np.sort(result.queries[result.success]) if result.queries is not None else limits[:0]
    return np.searchsorted(needed, limits, side="right") / len(result.success)


def even_limits(most: int, points: int = 50) -> IntArray:
    """Return numbers of queries from 1 to ``most``, evenly spaced on a logarithmic scale, without repeats."""
    require_count("the number of queries", most, least=1)
    return np.unique(np.rint(np.geomspace(1, most, points)).astype(np.int64))
