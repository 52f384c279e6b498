from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.fgsm import Fgsm
from attacks.pgd import Pgd
from attacks.transfer import Ensemble, craft_by_transfer
from export.errors import InputError
from hw.reference import ReferenceTarget


def test_result_is_judged_on_the_target(tiny_net, tiny_graph, images, labels, net, graph):
    others = [tiny_net((3, 4, 2), hidden=32, classes=5, seed=seed) for seed in (5, 6)]
    target = ReferenceTarget(graph)
    result = craft_by_transfer(Pgd(eps=0.2), others, target, images, labels)
    np.testing.assert_array_equal(result.success, target.infer(result.adversarial).labels != labels)
    assert np.all(result.queries == 0)
    itself = craft_by_transfer(Pgd(eps=0.2), [net], target, images, labels)
    assert itself.success.mean() > result.success.mean()


def test_an_ensemble_with_the_target_in_it_is_better_than_without(tiny_net, images, labels, net, graph):
    target = ReferenceTarget(graph)
    other = tiny_net((3, 4, 2), hidden=32, classes=5, seed=5)
    alone, both = (
        craft_by_transfer(Pgd(eps=0.15), models, target, images, labels).success.mean()
        for models in ([other], [other, net])
    )
    assert both > alone


def test_no_model_decides_by_the_scale_of_its_logits(net, images):
    class Loud(nn.Module):
        def forward(self, x):
            return net(x) * 1000

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(Ensemble([net, Loud()])(pixels), Ensemble([net])(pixels))


def test_shards_are_the_whole(graph, net, images, labels):
    target = ReferenceTarget(graph)
    attack = Pgd(eps=0.1, steps=4, seed=2)
    whole = craft_by_transfer(attack, [net], target, images, labels)
    shard = craft_by_transfer(attack, [net], target, images[30:], labels[30:], first_index=30)
    assert shard.adversarial.tobytes() == whole.adversarial[30:].tobytes()


def test_models_that_do_not_fit_are_refused(tiny_net, graph, images, labels):
    with pytest.raises(InputError, match="at least one"):
        Ensemble([])
    four = tiny_net((3, 4, 2), hidden=8, classes=4, seed=1)
    target = ReferenceTarget(graph)
    with pytest.raises(InputError, match="4"):
        craft_by_transfer(Fgsm(eps=0.1), [four], target, images, labels % 4)
    five = tiny_net((3, 4, 2), hidden=8, classes=5, seed=1)
    with pytest.raises(InputError, match="different classes"):
        craft_by_transfer(Fgsm(eps=0.1), [four, five], target, images, labels % 4)
