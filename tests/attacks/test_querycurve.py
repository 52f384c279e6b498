from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attacks.base import AttackResult
from attacks.querycurve import even_limits, query_curve
from attacks.square import Square
from export.errors import InputError
from hw.reference import ReferenceTarget


def _result(queries, success):
    count = len(queries)
    return AttackResult(
        adversarial=np.zeros((count, 1, 1, 1), np.uint8),
        success=np.array(success, bool),
        loss=np.zeros(count),
        targets=None,
        classes=2,
        queries=np.array(queries),
    )


def test_curve_counts_what_is_fooled_within_each_limit():
    result = _result([1, 10, 4, 10, 50], [1, 1, 1, 0, 1])
    curve = query_curve(result, np.array([0, 1, 3, 4, 10, 49, 50, 99]))
    np.testing.assert_array_equal(curve, np.array([0, 1, 1, 2, 3, 3, 4, 4]) / 5)


def test_curve_of_an_attack_rises_to_its_success(graph, images, labels):
    result = Square(eps=0.1, max_queries=100).craft(ReferenceTarget(graph), images, labels)
    curve = query_curve(result, even_limits(100))
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == result.success.mean()
    assert curve[0] < curve[-1]


def test_limits_are_even_and_without_repeats():
    limits = even_limits(1000, 20)
    assert limits[0] == 1
    assert limits[-1] == 1000
    assert np.all(np.diff(limits) > 0)


def test_bad_input_is_named():
    result = _result([1], [True])
    with pytest.raises(InputError, match="gradients"):
        query_curve(dataclasses.replace(result, queries=None), np.array([1]))
    with pytest.raises(InputError, match="negative"):
        query_curve(result, np.array([-1]))
    with pytest.raises(InputError, match="number of queries"):
        even_limits(0)
