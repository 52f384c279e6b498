import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bitsiege.statistics import clopper_pearson, fisher, holm, mcnemar, newcombe, wilson


@st.composite
def shares(draw) -> tuple[int, int]:
    count = draw(st.integers(1, 10_000))
    return draw(st.integers(0, count)), count


@given(shares())
def test_intervals_are_those_of_scipy(share: tuple[int, int]):
    test = binomtest(*share)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        low, high = ours(*share)
        theirs = test.proportion_ci(0.95, method=method)
        assert math.isclose(low, theirs.low, abs_tol=1e-9)
        assert math.isclose(high, theirs.high, abs_tol=1e-9)
        assert 0 <= low <= share[0] / share[1] <= high <= 1


@given(st.integers(0, 500), st.integers(0, 500))
def test_mcnemar_is_the_sign_test(first: int, second: int):
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert math.isclose(mcnemar(first, second), expected, rel_tol=1e-9)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_a_difference_of_independent_shares():
    """Newcombe's own example (1998, table II, method 10): 56/70 and 48/80 differ by 0.0524 to 0.3339."""
    low, high = newcombe(48, 80, 56, 70)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    assert fisher(10, 10, 0, 10) < 1e-4
    assert fisher(5, 10, 50, 100) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_lowers_nothing(values: list[float]):
    adjusted = holm(values)
    assert all(a >= v and a <= 1 for a, v in zip(adjusted, values, strict=True))
    pairs = sorted(zip(values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(adjusted)


def test_no_share_of_nothing():
    for wrong in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="no share"):
            wilson(*wrong)
    with pytest.raises(ValueError, match="not negative"):
        mcnemar(-1, 0)
