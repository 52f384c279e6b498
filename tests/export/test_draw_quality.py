"""Statistical quality of drawn weights, with fixed seeds.

Each check computes a statistic that for independent fair draws has a known distribution, and compares it with
a quantile of it. Every one of them would fail a perfect generator with the probability ``FALSE_ALARM``; the
seeds are fixed, so a check that passes always passes. The draws are ±1 weights, so what is tested is what the
network sees, the comparison with the mean included.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from export.draws import draw_bytes, draw_weights

FALSE_ALARM = 1e-4
FRAMES = 2000
SEED, LAYER = 20260, 2
# Weights of a row that ends within a block; means from never to almost always +1.
ROWS, COLUMNS = 16, 61
MEANS = np.linspace(-128, 127, ROWS * COLUMNS).round().astype(np.int8).reshape(ROWS, COLUMNS)


def weights(means: np.ndarray, frames: range, *, seed: int = SEED, layer: int = LAYER) -> np.ndarray:
    """±1 weights, int8 ``(frames, weights)``."""
    draw = partial(draw_weights, means, seed=seed, layer=layer)
    return np.stack([draw(frame=frame) for frame in frames]).reshape(len(frames), -1)


@pytest.fixture(scope="module")
def graded() -> np.ndarray:
    return weights(MEANS, range(FRAMES))


@pytest.fixture(scope="module")
def fair() -> np.ndarray:
    """Weights of P(+1) = 1/2, where a defect of any bit of the bytes shows least and of the top bit most."""
    return weights(np.zeros((ROWS, COLUMNS), np.int8), range(FRAMES))


def is_chi_square(statistic: float, degrees: int) -> bool:
    """Whether a chi-square statistic is neither too large nor too small to be chance."""
    low, high = stats.chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], degrees)
    return bool(low < statistic < high)


def is_normal(deviate: float) -> bool:
    """Whether a standard normal deviate is small enough to be chance."""
    return bool(abs(deviate) < stats.norm.isf(FALSE_ALARM / 2))


def test_each_weight_has_the_frequency_of_its_mean(graded: np.ndarray) -> None:
    probability = (MEANS.reshape(-1).astype(np.float64) + 128) / 256
    certain = probability == 0
    assert certain.any()
    assert np.all(graded[:, certain] == -1)
    counts = (graded[:, ~certain] == 1).sum(axis=0)
    p = probability[~certain]
    deviations = (counts - FRAMES * p) / np.sqrt(FRAMES * p * (1 - p))
    # Near 0 and 1 a count is no normal deviate; its square still has the mean 1.
    middle = (FRAMES * p > 50) & (FRAMES * (1 - p) > 50)
    assert middle.sum() > 900
    assert is_chi_square(float((deviations[middle] ** 2).sum()), int(middle.sum()))
    assert is_normal(float(deviations[middle].sum()) / np.sqrt(middle.sum()))
    # The extreme of all weights, exactly binomial.
    tails = 2 * np.minimum(stats.binom.cdf(counts, FRAMES, p), stats.binom.sf(counts - 1, FRAMES, p))
    assert tails.min() > FALSE_ALARM / len(tails)


def test_bytes_are_uniform() -> None:
    drawn = np.stack([draw_bytes(ROWS, COLUMNS, seed=SEED, layer=LAYER, frame=frame) for frame in range(400)])
    expected = drawn.size / 256
    counts = np.bincount(drawn.reshape(-1), minlength=256)
    assert is_chi_square(float(((counts - expected) ** 2 / expected).sum()), 255)
    for place in range(8):
        lane = drawn[:, :, place::8]
        expected = lane.size / 256
        counts = np.bincount(lane.reshape(-1), minlength=256)
        assert is_chi_square(float(((counts - expected) ** 2 / expected).sum()), 255)


def correlation_statistic(left: np.ndarray, right: np.ndarray) -> tuple[float, int]:
    """Sum of squared correlations of fair ±1 columns, scaled to chi-square, and its degrees of freedom."""
    sums = (left.astype(np.int64) * right).sum(axis=0)
    return float((sums.astype(np.float64) ** 2 / len(left)).sum()), sums.size


@pytest.mark.parametrize("lag", [1, 2, 3, 256])
def test_frames_are_independent(fair: np.ndarray, lag: int) -> None:
    assert is_chi_square(*correlation_statistic(fair[:-lag], fair[lag:]))
    # All weights of a frame together: none is like the frame before, or its opposite.
    agreement = (fair[:-lag].astype(np.int64) * fair[lag:]).sum(axis=1) / np.sqrt(fair.shape[1])
    assert np.abs(agreement).max() < stats.norm.isf(FALSE_ALARM / 2 / len(agreement))


@pytest.mark.parametrize("bit", [9, 16, 24, 31])
def test_distant_frames_are_independent(bit: int) -> None:
    means = np.zeros((ROWS, COLUMNS), np.int8)
    near, far = (weights(means, range(start, start + 500)) for start in (0, 1 << bit))
    assert is_chi_square(*correlation_statistic(near, far))


def test_lanes_are_independent(fair: np.ndarray) -> None:
    """All pairs of 64 weights: places in a block, blocks of a row, and rows."""
    chosen = [
        row * COLUMNS + column for row in range(4) for column in (0, 1, 2, 3, 6, 7, 8, 9, 15, 16, 32, 40)
    ]
    pairs = np.array(list(combinations(chosen, 2)))
    assert is_chi_square(*correlation_statistic(fair[:, pairs[:, 0]], fair[:, pairs[:, 1]]))
    largest = np.abs((fair[:, pairs[:, 0]].astype(np.int64) * fair[:, pairs[:, 1]]).sum(axis=0)).max()
    assert largest / np.sqrt(FRAMES) < stats.norm.isf(FALSE_ALARM / 2 / len(pairs))


@pytest.mark.parametrize(
    "other",
    [{"seed": SEED + 1}, {"seed": SEED ^ 1 << 31}, {"seed": 0}, {"layer": LAYER + 1}, {"layer": 0}],
    ids=str,
)
def test_seeds_and_layers_are_independent(fair: np.ndarray, other: dict[str, int]) -> None:
    elsewhere = weights(np.zeros((ROWS, COLUMNS), np.int8), range(FRAMES), **other)
    assert is_chi_square(*correlation_statistic(fair, elsewhere))


def test_seed_and_layer_are_not_exchangeable() -> None:
    means = np.zeros((ROWS, COLUMNS), np.int8)
    one, two = weights(means, range(500), seed=5, layer=9), weights(means, range(500), seed=9, layer=5)
    assert is_chi_square(*correlation_statistic(one, two))


def test_runs_of_one_weight_over_frames(fair: np.ndarray) -> None:
    """Changes of sign from frame to frame are binomial."""
    changes = (fair[1:] != fair[:-1]).sum(axis=0)
    trials = FRAMES - 1
    assert is_chi_square(float(((changes - trials / 2) ** 2 / (trials / 4)).sum()), changes.size)


def test_sums_of_a_neuron_have_the_variance_of_independent_weights(graded: np.ndarray) -> None:
    """What a neuron adds up: its mean and variance over frames, per row."""
    means = MEANS.astype(np.float64) / 128
    sums = graded.reshape(FRAMES, ROWS, COLUMNS).sum(axis=2, dtype=np.int64)
    variance = (1 - means**2).sum(axis=1)
    scaled = (sums - means.sum(axis=1)) / np.sqrt(variance)
    assert np.abs(scaled.mean(axis=0) * np.sqrt(FRAMES)).max() < stats.norm.isf(FALSE_ALARM / 2 / ROWS)
    # The variance of FRAMES near normal values deviates by sqrt(2 / FRAMES).
    spread = (scaled.var(axis=0) - 1) / np.sqrt(2 / FRAMES)
    assert np.abs(spread).max() < stats.norm.isf(FALSE_ALARM / 2 / ROWS)


def test_the_checks_can_fail(fair: np.ndarray) -> None:
    """A bias of 1 in 256, a weight that repeats, and a copied lane are found."""
    biased = weights(np.full((ROWS, COLUMNS), 1, np.int8), range(FRAMES))
    assert not is_normal(float(biased.sum(dtype=np.int64)) / np.sqrt(biased.size))
    assert is_normal(float(fair.sum(dtype=np.int64)) / np.sqrt(fair.size))
    sticky = fair.copy()
    sticky[1::50] = sticky[:-1:50]
    assert not is_chi_square(*correlation_statistic(sticky[:-1], sticky[1:]))
    assert not is_chi_square(*correlation_statistic(fair[:, :40], fair[:, :40]))
