"""Intervals and tests for shares of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from scipy.special import bdtr, betaincinv

LEVEL = 0.95
# The normal distribution's quantile that leaves 2.5 % on each side.
_Z = 1.959963984540054

Interval = tuple[float, float]


def wilson(correct: int, count: int) -> Interval:
    """Return Wilson's 95 % interval of a share.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference (JASA 1927).
    """
    _check(correct, count)
    share, square = correct / count, _Z**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _Z / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    low = 0.0 if correct == 0 else middle - half
    high = 1.0 if correct == count else middle + half
    return low, high


def clopper_pearson(correct: int, count: int) -> Interval:
    """Return Clopper and Pearson's exact 95 % interval of a share; it is never too narrow.

    References:
        Clopper and Pearson, The use of confidence or fiducial limits (Biometrika 1934).
    """
    _check(correct, count)
    tail = (1 - LEVEL) / 2
    low = 0.0 if correct == 0 else float(betaincinv(correct, count - correct + 1, tail))
    high = 1.0 if correct == count else float(betaincinv(correct + 1, count - correct, 1 - tail))
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value that two paired classifiers are equally good.

    Args:
        only_first: Images that only the first one knows.
        only_second: Images that only the second one knows.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions (1947).
    """
    if min(only_first, only_second) < 0:
        raise ValueError("numbers of images are not negative")
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))


def fisher(correct_a: int, count_a: int, correct_b: int, count_b: int) -> float:
    """Return Fisher's exact two-sided p-value that two independent shares are equal."""
    _check(correct_a, count_a)
    _check(correct_b, count_b)
    # It takes a second to import, and only comparisons without image-level results need it.
    from scipy.stats import fisher_exact

    table = [[correct_a, count_a - correct_a], [correct_b, count_b - correct_b]]
    _, p_value = cast("tuple[float, float]", fisher_exact(table))
    return min(1.0, float(p_value))


def newcombe(correct_a: int, count_a: int, correct_b: int, count_b: int) -> Interval:
    """Return the 95 % interval of the share of b minus that of a, from Wilson's intervals.

    References:
        Newcombe, Interval estimation for the difference between independent proportions (1998), method 10.
    """
    low_a, high_a = wilson(correct_a, count_a)
    low_b, high_b = wilson(correct_b, count_b)
    a, b = correct_a / count_a, correct_b / count_b
    low = b - a - math.hypot(b - low_b, high_a - a)
    high = b - a + math.hypot(high_b - b, a - low_a)
    return low, high


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p-values so that one false alarm among all of them is as rare as for one test.

    References:
        Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    adjusted, highest = [1.0] * len(values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def _check(correct: int, count: int) -> None:
    if not 0 <= correct <= count or count == 0:
        raise ValueError(f"{correct} of {count} is no share")
