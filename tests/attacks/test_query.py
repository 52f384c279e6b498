from __future__ import annotations

import numpy as np
import pytest

from attacks.catalog import ATTACKS, make_attack
from attacks.goal import Goal
from attacks.query import QueryAttack
from attacks.threat import Norm
from export.errors import InputError
from hw.reference import ReferenceTarget
from hw.target import Inference

EPS = {Norm.LINF: 0.2, Norm.L2: 1.0, Norm.L0: 0.4}
CASES = [
    (name, norm)
    for name, kind in sorted(ATTACKS.items())
    if issubclass(kind, QueryAttack) and name != "substitute"
    for norm in kind.norms
]
every_attack = pytest.mark.parametrize(("name", "norm"), CASES)


class _Counting:
    """A target that counts what it is asked, image by image, without the final looks."""

    name = "counting"

    def __init__(self, graph):
        self.graph = graph
        self.inner = ReferenceTarget(graph)
        self.total = 0

    def infer(self, images, first_frame=0):
        self.total += len(images)
        return self.inner.infer(images, first_frame)


def _attack(name, norm, **parameters):
    return make_attack(name, **{"norm": norm, "eps": EPS[norm], "max_queries": 60, "seed": 3} | parameters)


@every_attack
@pytest.mark.parametrize("goal", [Goal.UNTARGETED, Goal.NEXT])
def test_images_are_in_the_ball_and_success_is_what_the_target_says(name, norm, goal, graph, images, labels):
    target = ReferenceTarget(graph)
    attack = _attack(name, norm, goal=goal)
    result = attack.craft(target, images, labels)
    budget = attack.budget(images.shape[1:])
    assert np.all(budget.spent(images, result.adversarial) <= budget.limit(images.shape[1:]))
    found = target.infer(result.adversarial).labels
    expected = found != labels if goal is Goal.UNTARGETED else found == result.targets
    np.testing.assert_array_equal(result.success, expected)
    assert result.success.any()
    assert not np.array_equal(result.adversarial, images)


@every_attack
def test_queries_are_what_the_target_was_asked(name, norm, graph, images, labels):
    target = _Counting(graph)
    result = _attack(name, norm).craft(target, images, labels, group=16)
    assert result.queries.sum() + len(images) == target.total
    assert result.queries.min() >= 1
    assert result.queries.max() <= 60


@every_attack
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 12])
def test_no_limit_is_exceeded(name, norm, limit, graph, images, labels):
    result = _attack(name, norm, max_queries=limit).craft(ReferenceTarget(graph), images[:9], labels[:9])
    assert result.queries.max() <= limit


@every_attack
def test_images_that_are_misclassified_cost_one_query(name, norm, graph, images, labels):
    result = _attack(name, norm).craft(ReferenceTarget(graph), images, (labels + 1) % 5)
    assert result.success.all()
    assert np.all(result.queries == 1)
    np.testing.assert_array_equal(result.adversarial, images)


@every_attack
@pytest.mark.parametrize("drawn", [False, True])
def test_same_bytes_in_any_group_and_shard(name, norm, drawn, graph, drawn_graph, images, labels):
    target = ReferenceTarget(drawn_graph if drawn else graph)
    attack = _attack(name, norm, max_queries=30)
    whole = attack.craft(target, images, labels, first_index=5)
    again = attack.craft(target, images, labels, first_index=5, group=7)
    assert again.adversarial.tobytes() == whole.adversarial.tobytes()
    np.testing.assert_array_equal(again.queries, whole.queries)
    np.testing.assert_array_equal(again.success, whole.success)
    shard = attack.craft(target, images[21:], labels[21:], first_index=26)
    assert shard.adversarial.tobytes() == whole.adversarial[21:].tobytes()
    np.testing.assert_array_equal(shard.queries, whole.queries[21:])
    np.testing.assert_array_equal(shard.success, whole.success[21:])


@every_attack
def test_another_seed_gives_other_bytes(name, norm, graph, images, labels):
    one, two = (
        _attack(name, norm, seed=seed).craft(ReferenceTarget(graph), images, labels).adversarial
        for seed in (0, 1)
    )
    assert one.tobytes() != two.tobytes()


@every_attack
def test_a_budget_of_nothing_returns_the_originals(name, norm, graph, images, labels):
    result = _attack(name, norm, eps=0.0).craft(ReferenceTarget(graph), images[:4], labels[:4])
    np.testing.assert_array_equal(result.adversarial, images[:4])


@every_attack
def test_a_look_may_take_several_queries_that_all_count(name, norm, graph, drawn_graph, images, labels):
    target = _Counting(graph)
    attack = _attack(name, norm, max_queries=32, eot=3)
    result = attack.craft(target, images, labels)
    assert np.all(result.queries % 3 == 0)
    assert result.queries.max() <= 30
    assert result.queries.sum() + len(images) == target.total
    drawn = ReferenceTarget(drawn_graph)
    whole, parts = (attack.craft(drawn, images, labels, group=group) for group in (40, 9))
    assert parts.adversarial.tobytes() == whole.adversarial.tobytes()


class _Noisy:
    """Class 0 leads by 10 whatever the image, give or take up to 30 in each frame."""

    name = "noisy"

    def infer(self, images, first_frame=0):
        frames = np.arange(first_frame, first_frame + len(images))
        noise = np.array([np.random.default_rng(frame).integers(-30, 31) for frame in frames], np.int64)
        return Inference(logits=np.stack([np.full(len(images), 100), 90 + noise], axis=1))


def test_a_lucky_draw_is_no_success_where_a_look_takes_many(images):
    labels = np.zeros(6, np.int64)
    once, often = (
        make_attack("square", eps=0.1, max_queries=6 * eot, eot=eot).craft(_Noisy(), images[:6], labels)
        for eot in (1, 64)
    )
    assert np.sum(once.queries < 6) >= 5
    assert np.all(often.queries == 6 * 64)


@pytest.mark.parametrize("eot", [0, 1.5, 1001])
def test_a_look_of_no_or_too_many_queries_is_refused(eot):
    with pytest.raises(InputError, match=r"eot|look"):
        make_attack("square", eps=0.1, eot=eot)


def test_limit_of_queries_must_be_a_count():
    with pytest.raises(InputError, match="max_queries"):
        make_attack("square", eps=0.1, max_queries=0)


def test_the_final_look_is_at_a_frame_that_the_attacker_never_saw(drawn_graph, images, labels):
    class Recording(ReferenceTarget):
        frames: list[tuple[int, int]]

        def infer(self, images, first_frame=0):
            self.frames.append((first_frame, len(images)))
            return super().infer(images, first_frame)

    target = Recording(drawn_graph)
    target.frames = []
    make_attack("square", eps=0.2, max_queries=5).craft(target, images, labels, first_index=11)
    assert target.frames[-1] == (11, len(images))
    assert min(first for first, _ in target.frames[:-1]) >= 2**17
    assert isinstance(target.infer(images), Inference)
