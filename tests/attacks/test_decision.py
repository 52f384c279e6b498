from __future__ import annotations

import numpy as np
import pytest

from attacks.boundary import Boundary
from attacks.counter import Counter
from attacks.decision import Chase, as_images, blocks, length
from attacks.hopskipjump import HopSkipJump
from attacks.oracle import Oracle
from attacks.query import Task
from attacks.threat import Budget, Norm
from export.errors import InputError
from hw.reference import ReferenceTarget

walkers = pytest.mark.parametrize("kind", [HopSkipJump, Boundary])


def _task(graph, images, labels, *, limit=50, norm=Norm.L2, eps=9.0):
    oracle = Oracle(ReferenceTarget(graph), len(images), limit=limit)
    clean = oracle.logits(images, np.arange(len(images)))
    return Task(
        oracle=oracle,
        originals=images,
        labels=labels,
        targets=None,
        clean=clean,
        budget=Budget(norm=norm, eps=eps),
        first_index=0,
    )


@walkers
def test_nearest_image_of_a_linear_model_is_found_in_l2(kind, linear_graph):
    # The pixels sum to 1920, and class 1 begins below 1600: 81 / 4 grey levels a pixel, 81 in L2.
    images = np.full((6, 4, 4, 1), 120, np.uint8)
    attack = kind(norm=Norm.L2, max_queries=1500, seed=2)
    result = attack.craft(ReferenceTarget(linear_graph), images, np.zeros(6, int))
    assert result.success.all()
    distance = np.sqrt(attack.budget((4, 4, 1)).spent(images, result.adversarial))
    assert np.all(distance >= 80)
    assert np.all(distance <= 1.2 * 81)


@walkers
def test_nearest_image_of_a_linear_model_is_found_in_linf(kind, linear_graph):
    images = np.full((6, 4, 4, 1), 120, np.uint8)
    attack = kind(norm=Norm.LINF, max_queries=1500, seed=2)
    result = attack.craft(ReferenceTarget(linear_graph), images, np.zeros(6, int))
    distance = attack.budget((4, 4, 1)).spent(images, result.adversarial)
    assert result.success.all()
    assert np.all(distance >= 21)
    assert np.all(distance <= 30)


@walkers
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_more_queries_come_nearer(kind, norm, graph, images, labels):
    target = ReferenceTarget(graph)
    results = [kind(norm=norm, max_queries=q).craft(target, images, labels) for q in (60, 500)]
    budget = Budget(norm=norm, eps=1.0 if norm is Norm.LINF else 9.0)
    few, many = (budget.spent(images, result.adversarial) for result in results)
    both = results[0].success & results[1].success
    assert both.sum() > 20
    assert np.all(many[both] <= few[both])
    assert many[both].mean() < 0.8 * few[both].mean()


@walkers
def test_a_budget_ends_the_walk(kind, graph, images, labels):
    result = kind(norm=Norm.L2, eps=1.5, max_queries=500).craft(ReferenceTarget(graph), images, labels)
    assert result.success.mean() > 0.5
    assert result.queries[result.success].mean() < 300
    free = kind(norm=Norm.L2, max_queries=100).craft(ReferenceTarget(graph), images[:5], labels[:5])
    assert np.all(free.queries[free.success] == 100)


def test_the_nearest_of_several_is_kept(graph, images, labels):
    task = _task(graph, images[:3], labels[:3])
    chase = Chase(task, bounded=False)
    assert not chase.found.any()
    random = np.random.default_rng(5).integers(0, 256, (60, 3, 4, 2), dtype=np.uint8)
    rows = np.arange(60) % 3
    fooled = chase.ask(random, rows)
    spent = task.budget.spent(images[rows], random)
    for row in range(3):
        candidates = np.flatnonzero(fooled & (rows == row))
        best = candidates[spent[candidates].argmin()]
        assert chase.spent[row] == spent[best]
        np.testing.assert_array_equal(chase.nearest[row], random[best])
    np.testing.assert_array_equal(chase.result(), chase.nearest)


def test_what_is_outside_of_the_budget_is_not_returned(graph, images, labels):
    task = _task(graph, images[:8], labels[:8], eps=0.01)
    chase = Chase(task, bounded=True)
    chase.start(Counter(0, 0, first_index=0, count=8), 40)
    assert chase.found.any()
    np.testing.assert_array_equal(chase.result(), images[:8])
    np.testing.assert_array_equal(chase.alive(), np.flatnonzero(chase.found & task.oracle.may_ask()))


def test_blocks_have_one_value_each():
    random = Counter(0, 0, first_index=0, count=4)
    drawn = blocks(random, np.arange(4), 0, (5, 6, 2), 2)
    assert drawn.shape == (4, 5, 6, 2)
    np.testing.assert_array_equal(drawn[:, 0:4:2], drawn[:, 1:4:2])
    np.testing.assert_array_equal(drawn[:, :, 0::2], drawn[:, :, 1::2])
    assert len(np.unique(drawn[:, ::2, ::2])) > 40


def test_rounding_and_length():
    assert as_images(np.array([[-3.0, 1.6, 300.0]]), (1, 3, 1)).ravel().tolist() == [0, 2, 255]
    assert length(np.array([[3.0, 4.0]])).item() == pytest.approx(5)


@pytest.mark.parametrize("parameters", [{"probes": 0}, {"reach": 0.0}, {"starts": 0}])
def test_bad_parameters_of_hopskipjump_are_refused(parameters):
    with pytest.raises(InputError, match="hopskipjump"):
        HopSkipJump(**parameters)


@pytest.mark.parametrize("parameters", [{"around": 0.0}, {"towards": 2.0}, {"starts": 0}])
def test_bad_parameters_of_boundary_are_refused(parameters):
    with pytest.raises(InputError, match="boundary"):
        Boundary(norm=Norm.L2, **parameters)
