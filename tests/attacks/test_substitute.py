from __future__ import annotations

import numpy as np
import pytest

from attacks.goal import Goal
from attacks.substitute import SubstituteAttack
from export.errors import InputError
from hw.reference import ReferenceTarget


def _attack(**parameters):
    shared = {"eps": 0.2, "held_out": 12, "rounds": 3, "epochs": 20, "hidden": 32, "max_queries": 40}
    return SubstituteAttack(**(shared | parameters))


def test_held_out_images_are_not_attacked(graph, images, labels):
    target = ReferenceTarget(graph)
    result = _attack().craft(target, images, labels)
    np.testing.assert_array_equal(result.adversarial[:12], images[:12])
    assert not result.success[:12].any()
    assert np.all(np.abs(result.adversarial[12:].astype(int) - images[12:]).reshape(28, -1).max(axis=1) > 0)
    found = target.infer(result.adversarial).labels
    np.testing.assert_array_equal(result.success[12:], (found != labels)[12:])
    assert np.all(result.queries == 40)
    assert result.success.any()


@pytest.mark.parametrize("drawn", [False, True])
def test_seeds_of_the_callers_own_make_shards_independent(drawn, graph, drawn_graph, images, labels):
    target = ReferenceTarget(drawn_graph if drawn else graph)
    seeds = np.random.default_rng(9).integers(0, 256, (12, 3, 4, 2), dtype=np.uint8)
    attack = _attack(steps=5, seed=3)
    whole = attack.craft(target, images, labels, seeds=seeds, first_index=2)
    assert len(whole.success) == 40
    shard = attack.craft(target, images[25:], labels[25:], seeds=seeds, first_index=27)
    assert shard.adversarial.tobytes() == whole.adversarial[25:].tobytes()
    np.testing.assert_array_equal(shard.success, whole.success[25:])


def test_pgd_on_the_substitute_is_another_attack(graph, images, labels):
    one, many = (
        _attack(steps=steps).craft(ReferenceTarget(graph), images, labels).adversarial for steps in (1, 10)
    )
    assert one.tobytes() != many.tobytes()


def test_goals_reach_the_substitute(graph, images, labels):
    result = _attack(goal=Goal.NEXT).craft(ReferenceTarget(graph), images, labels)
    assert result.targets is not None
    assert len(result.targets) == 40
    assert np.all(result.targets != labels)
    given = _attack(goal=Goal.GIVEN).craft(ReferenceTarget(graph), images, labels, targets=(labels + 1) % 5)
    np.testing.assert_array_equal(given.targets, (labels + 1) % 5)


def test_nothing_left_to_attack_is_refused(graph, images, labels):
    with pytest.raises(InputError, match="none is left"):
        _attack(held_out=40).craft(ReferenceTarget(graph), images, labels)


@pytest.mark.parametrize(
    "parameters",
    [{"held_out": 0}, {"held_out": 41}, {"steps": 0}, {"hidden": 0}, {"rounds": 0}, {"reach": 0.0}],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError):
        _attack(**parameters)
