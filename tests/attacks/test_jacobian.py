from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.jacobian import Recipe, augment, train_substitute
from export.errors import InputError
from hw.reference import ReferenceTarget

SMALL = Recipe(hidden=(32,), rounds=4, epochs=5, batch_size=16)


def test_images_double_behind_their_parents_and_are_labelled_by_the_target(graph, images):
    target = ReferenceTarget(graph)
    substitute = train_substitute(target, images[:10], SMALL, seed=1, max_queries=1000)
    assert len(substitute.images) == 10 * 2**3
    np.testing.assert_array_equal(substitute.images[:10], images[:10])
    np.testing.assert_array_equal(substitute.labels, target.infer(substitute.images).labels)
    for half in (10, 20, 40):
        parents = substitute.images[:half].astype(int)
        step = np.abs(substitute.images[half : 2 * half].astype(int) - parents)
        assert step.max() == 26
        assert step.mean() > 10


def test_no_more_is_asked_than_allowed(graph, images):
    class Counting(ReferenceTarget):
        total = 0

        def infer(self, images, first_frame=0):
            Counting.total += len(images)
            return super().infer(images, first_frame)

    substitute = train_substitute(Counting(graph), images[:10], SMALL, seed=1, max_queries=33)
    assert len(substitute.images) == Counting.total == 33


def test_a_new_image_raises_its_own_labels_logit(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 5))
    labels = np.arange(40) % 5
    grown = augment(model, np.clip(images, 60, 190), labels, 0.1)

    def own(batch):
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        return model(pixels).gather(1, torch.from_numpy(labels)[:, None]).detach().numpy()

    assert np.all(own(grown) > own(np.clip(images, 60, 190)))


def test_the_substitute_agrees_with_the_target(linear_graph):
    target = ReferenceTarget(linear_graph)
    random = np.random.default_rng(2).integers(0, 201, (400, 4, 4, 1), dtype=np.uint8)
    recipe = Recipe(hidden=(64,), rounds=2, epochs=40, batch_size=32)
    substitute = train_substitute(target, random[:300], recipe, seed=0, max_queries=600)
    pixels = torch.from_numpy(random[300:]).permute(0, 3, 1, 2).float() / 255
    agreed = substitute.model(pixels).argmax(1).numpy() == target.infer(random[300:]).labels
    assert agreed.mean() > 0.85


def test_same_seed_same_network_and_the_caller_keeps_its_state(graph, images):
    state = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    models = [
        train_substitute(ReferenceTarget(graph), images[:9], SMALL, seed=seed, max_queries=99).model
        for seed in (4, 4, 5)
    ]
    weights = [torch.cat([p.flatten() for p in model.parameters()]).detach().numpy() for model in models]
    assert weights[0].tobytes() == weights[1].tobytes()
    assert weights[0].tobytes() != weights[2].tobytes()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "parameters",
    [
        {"rounds": 0},
        {"epochs": 0},
        {"batch_size": 0},
        {"step": 0.0},
        {"learning_rate": 0.0},
        {"hidden": (0,)},
    ],
)
def test_bad_recipes_are_refused(parameters):
    with pytest.raises(InputError):
        Recipe(**parameters)


def test_seeds_must_be_there_and_affordable(graph, images):
    for seeds in (images[:0], images[:5]):
        with pytest.raises(InputError, match="held-out"):
            train_substitute(ReferenceTarget(graph), seeds, SMALL, seed=0, max_queries=4)
