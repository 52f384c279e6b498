from __future__ import annotations

import numpy as np
import pytest

from attacks.counter import Counter
from attacks.gridball import GridBall
from attacks.nes import Nes, Spsa
from attacks.threat import Budget, Norm
from export.errors import InputError
from hw.reference import ReferenceTarget

both = pytest.mark.parametrize("kind", [Nes, Spsa])


@both
def test_linear_model_falls_as_soon_as_the_ball_reaches_its_border(kind, linear_graph):
    # The pixels sum to 1919, and class 1 begins below 1600: 20 grey levels in each of 16 pixels just do.
    images = np.full((6, 4, 4, 1), 120, np.uint8)
    images[:, 0, 0, 0] -= 1
    target = ReferenceTarget(linear_graph)
    labels = np.zeros(6, int)
    assert kind(eps=26 / 255, max_queries=300).craft(target, images, labels).success.all()
    assert not kind(eps=18 / 255, max_queries=300).craft(target, images, labels).success.any()
    # In L2 the border is at 320 / 4 = 80 grey levels.
    inside, outside = (
        kind(eps=radius / 255, norm=Norm.L2, max_queries=600).craft(target, images, labels)
        for radius in (88, 79)
    )
    assert inside.success.all()
    assert not outside.success.any()


@both
def test_more_queries_fool_more(kind, graph, images, labels):
    target = ReferenceTarget(graph)
    few = kind(eps=0.04, max_queries=20).craft(target, images, labels)
    many = kind(eps=0.04, max_queries=300).craft(target, images, labels)
    assert many.success.mean() > few.success.mean() + 0.1


@both
def test_directions_have_variance_one(kind):
    random = Counter(0, 2, first_index=0, count=8)
    drawn = kind(eps=0.1).directions(random, np.arange(8), 3, 5000)
    assert drawn.dtype == np.float32
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.var() - 1) < 0.02


@both
@pytest.mark.parametrize(
    "parameters",
    [{"samples": 0}, {"samples": 3}, {"sigma": 0.0}, {"sigma": float("nan")}, {"step_size": 1.5}],
)
def test_bad_parameters_are_refused(kind, parameters):
    with pytest.raises(InputError, match=kind.name):
        kind(eps=0.1, **parameters)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_a_ball_keeps_what_is_inside_and_cuts_the_rest(norm):
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 3, 2), dtype=np.uint8)
    budget = Budget(norm=norm, eps=0.25)
    ball = GridBall(budget, images)
    np.testing.assert_array_equal(ball.nearest(ball.originals), ball.originals)
    far = ball.originals + np.random.default_rng(1).normal(0, 200, ball.originals.shape).astype(np.float32)
    moved = ball.on_grid(ball.nearest(far)).reshape(images.shape)
    spent, limit = budget.spent(images, moved), budget.limit((3, 3, 2))
    assert np.all(spent <= limit)
    assert np.all(spent > 0.5 * limit)
    kept = np.array([True, False] * 3 + [True])
    np.testing.assert_array_equal(ball.take(kept).originals, ball.originals[kept])
