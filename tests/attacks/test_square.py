from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.counter import Counter
from attacks.gridball import round_into_l2
from attacks.square import Square
from attacks.squareball import L2Ball, LinfBall, bump
from attacks.threat import Norm
from export.errors import InputError
from hw.reference import ReferenceTarget


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 3),
    limit=st.integers(1, 255),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_linf_images_stay_at_the_ends_and_change_one_square(height, width, channels, limit, seed):
    originals = np.random.default_rng(seed).integers(0, 256, (4, height, width, channels), dtype=np.uint8)
    random = Counter(seed, 2, first_index=0, count=4)
    ball = LinfBall(originals, np.array([0, 2, 3]), limit=limit)
    low = np.maximum(originals.astype(int) - limit, 0)[[0, 2, 3]]
    high = np.minimum(originals.astype(int) + limit, 255)[[0, 2, 3]]
    ball.start(random)
    for step in range(1, 5):
        assert np.all((ball.images == low) | (ball.images == high))
        before = ball.images.copy()
        side = ball.side(0.3)
        ball.propose(random, step, side)
        changed = (ball.images != before).any(axis=3)
        assert changed.any(axis=(1, 2)).all()
        assert changed.sum(axis=(1, 2)).max() <= side**2
        ball.restore(np.array([True, False, True]))
        np.testing.assert_array_equal(ball.images[[0, 2]], before[[0, 2]])


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.integers(1, 3),
    limit=st.integers(1, 200_000),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_l2_images_stay_inside(height, width, channels, limit, seed):
    originals = np.random.default_rng(seed).integers(0, 256, (3, height, width, channels), dtype=np.uint8)
    random = Counter(seed, 2, first_index=0, count=3)
    ball = L2Ball(originals, np.arange(3), limit=limit)
    ball.start(random)
    for step in range(1, 5):
        spent = ((ball.images.astype(int) - originals) ** 2).reshape(3, -1).sum(axis=1)
        assert spent.max() <= limit
        ball.propose(random, step, ball.side(0.2))


def test_l2_uses_most_of_the_budget():
    originals = np.full((5, 28, 28, 1), 128, np.uint8)
    ball = L2Ball(originals, np.arange(5), limit=510**2)
    random = Counter(1, 2, first_index=0, count=5)
    ball.start(random)
    for step in range(1, 30):
        ball.propose(random, step, ball.side(0.05))
    spent = ((ball.images.astype(int) - originals) ** 2).reshape(5, -1).sum(axis=1)
    assert spent.min() > 0.97 * 510**2


@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 12])
def test_a_bump_has_norm_one_and_a_hill_above_a_valley(side):
    pattern = bump(side)
    assert np.linalg.norm(pattern) == pytest.approx(1)
    if side > 1:
        assert np.all(pattern[: side // 2] > 0)
        assert np.all(pattern[side // 2 :] < 0)


@given(seed=st.integers(0, 10**6), limit=st.integers(1, 10**6), pixels=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_rounding_stays_in_the_ball_and_near(seed, limit, pixels):
    change = np.random.default_rng(seed).normal(size=(6, pixels))
    change *= (np.sqrt(limit) / np.linalg.norm(change, axis=1))[:, None]
    steps = round_into_l2(change, limit)
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert (steps**2).sum(axis=1).max() <= limit
    assert np.abs(steps - change).max() < 1 + 0.5 * pixels**0.5


def test_whole_changes_inside_the_ball_are_kept():
    change = np.array([[3.0, -4.0], [0.0, 5.0]])
    np.testing.assert_array_equal(round_into_l2(change, 25), change)


@pytest.mark.parametrize(("eps", "expected"), [(20 / 255, True), (18 / 255, False)])
def test_linear_model_falls_as_soon_as_the_ball_reaches_its_border(linear_graph, eps, expected):
    # The pixels sum to 1920, and class 1 begins below 1600: 20 grey levels in each of 16 pixels just miss it.
    images = np.full((8, 4, 4, 1), 120, np.uint8)
    images[:, 0, 0, 0] -= 1
    result = Square(eps=eps, max_queries=400).craft(ReferenceTarget(linear_graph), images, np.zeros(8, int))
    assert result.success.tolist() == [expected] * 8
    if expected:
        assert result.queries.max() < 400
    else:
        assert np.all(result.queries == 400)


def test_square_beats_random_stripes(graph, images, labels):
    target = ReferenceTarget(graph)
    for norm, eps in ((Norm.LINF, 0.15), (Norm.L2, 0.7)):
        few = Square(eps=eps, norm=norm, max_queries=2).craft(target, images, labels)
        many = Square(eps=eps, norm=norm, max_queries=200).craft(target, images, labels)
        assert many.success.mean() > few.success.mean() + 0.2
        assert np.all(many.success >= few.success)


def test_squares_shrink():
    attack = Square(eps=0.1, max_queries=1000)
    shares = [attack._share(step / 1000) for step in range(1, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 0.8
    assert shares[-1] == 0.8 / 2**9


@pytest.mark.parametrize("p_init", [0.0, 1.5, float("nan")])
def test_bad_share_is_refused(p_init):
    with pytest.raises(InputError, match="p_init"):
        Square(eps=0.1, p_init=p_init)


def test_colours_are_changed_one_by_one(tiny_net, tiny_graph):
    net = tiny_net((5, 6, 3), 48, 4, 2)
    target = ReferenceTarget(tiny_graph(net))
    images = np.random.default_rng(1).integers(0, 256, (20, 5, 6, 3), dtype=np.uint8)
    labels = target.infer(images).labels
    result = Square(eps=0.2, max_queries=300).craft(target, images, labels)
    assert result.success.mean() > 0.5
