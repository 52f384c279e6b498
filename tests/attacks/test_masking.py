from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from attacks.masking import COMPARISONS, judge, significant

EVEN = np.arange(200) % 2 == 0
MOST = np.arange(200) < 190
NONE = np.zeros(200, np.bool_)
ALL = ~NONE


def _sound() -> dict[str, np.ndarray]:
    """Outcomes in the order that they ought to have."""
    return {
        "clean": NONE,
        "fgsm": EVEN,
        "pgd": MOST,
        "pgd, njs": MOST,
        "pgd, identity": MOST,
        "pgd, restarts": MOST,
        "noise": NONE,
        "square": EVEN,
        "unbounded": ALL,
    }


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 2**32))
def test_the_sign_test_is_the_exact_binomial_one(stronger, seed):
    first = np.array(stronger)
    second = np.random.default_rng(seed).random(len(first)) < 0.5
    only = int((second & ~first).sum()), int((first & ~second).sum())
    expected = binomtest(only[0], sum(only), 0.5, alternative="greater").pvalue if sum(only) else 1.0
    assert significant(first, second) == pytest.approx(expected)


def test_ordered_outcomes_give_no_sign():
    curve = {0.1: NONE, 0.2: EVEN, 0.3: ALL}
    verdict = judge(_sound(), eps=0.3, zero_gradients=0.0, curves={"eps": curve, "steps": curve})
    assert not verdict.masked
    assert verdict.strongest == "pgd"
    assert verdict.accuracy["pgd"] == pytest.approx(0.05)
    assert verdict.sentence.startswith("no sign of gradient masking in 10 checks; 5.0 %")
    assert verdict.curves["eps"] == ((0.1, 1.0), (0.2, 0.5), (0.3, 0.0))


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda item: item.name)
def test_a_weaker_attack_that_wins_is_a_sign(comparison):
    outcomes = _sound() | {comparison.stronger: NONE, comparison.weaker: EVEN}
    verdict = judge(outcomes, eps=0.3, zero_gradients=0.0)
    signs = [check.name for check in verdict.checks if check.masked]
    assert comparison.name in signs
    assert "masked" in verdict.sentence


@pytest.mark.parametrize(
    ("changes", "zero", "name"),
    [({"unbounded": MOST & EVEN}, 0.0, "unbounded"), ({}, 0.5, "zero gradients")],
)
def test_absolute_signs(changes, zero, name):
    verdict = judge(_sound() | changes, eps=0.3, zero_gradients=zero)
    assert [check.name for check in verdict.checks if check.masked] == [name]


@pytest.mark.parametrize("setting", ["eps", "steps"])
def test_a_curve_that_falls_is_a_sign(setting):
    verdict = judge(
        _sound(), eps=0.3, zero_gradients=0.0, curves={setting: {3.0: NONE, 1.0: NONE, 2.0: EVEN}}
    )
    assert [check.name for check in verdict.checks if check.masked] == [f"more {setting}"]


def test_a_difference_that_chance_explains_is_no_sign():
    pgd, square = NONE.copy(), NONE.copy()
    pgd[:10], square[8:20] = True, True
    verdict = judge(_sound() | {"pgd": pgd, "square": square, "noise": NONE}, eps=0.3, zero_gradients=0.0)
    checks = {check.name: check for check in verdict.checks}
    assert not checks["black box"].masked


def test_what_was_not_run_is_said():
    verdict = judge({"clean": NONE, "pgd": MOST}, eps=0.3, zero_gradients=0.0)
    asked = {check.name: check.masked for check in verdict.checks}
    assert asked["black box"] is None
    assert not verdict.masked
    assert "1 checks" in verdict.sentence


def test_a_verdict_is_json():
    values = json.loads(json.dumps(judge(_sound(), eps=0.3, zero_gradients=0.0).to_json()))
    assert values["masked"] is False
    assert values["checks"][0]["name"] == "zero gradients"


def test_clean_images_are_needed():
    with pytest.raises(ValueError, match="clean"):
        judge({"pgd": MOST}, eps=0.1, zero_gradients=0.0)
