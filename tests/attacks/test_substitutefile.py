from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.substitute import SubstituteAttack
from attacks.substitutefile import read_trained, trained_bytes
from export.errors import InputError
from hw.reference import ReferenceTarget


def _attack(**parameters):
    shared = {
        "eps": 0.2,
        "held_out": 12,
        "rounds": 2,
        "epochs": 5,
        "hidden": 16,
        "max_queries": 20,
        "steps": 3,
    }
    return SubstituteAttack(**(shared | parameters))


def test_one_training_serves_all_images_and_budgets(graph, images, labels):
    target = ReferenceTarget(graph)
    seeds = np.random.default_rng(9).integers(0, 256, (30, 3, 4, 2), dtype=np.uint8)
    data = trained_bytes(_attack().train(target, seeds))
    assert trained_bytes(_attack(eps=0.4, steps=1).train(target, seeds)) == data
    assert trained_bytes(read_trained(data)) == data
    for attack in (_attack(), _attack(eps=0.4)):
        whole = attack.craft(target, images, labels, seeds=seeds)
        part = attack.craft(target, images[25:], labels[25:], first_index=25, trained=read_trained(data))
        assert part.adversarial.tobytes() == whole.adversarial[25:].tobytes()
        np.testing.assert_array_equal(part.success, whole.success[25:])
        np.testing.assert_array_equal(part.queries, whole.queries[25:])


def test_reading_moves_no_random_numbers(graph, images):
    data = trained_bytes(_attack().train(ReferenceTarget(graph), images))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    read_trained(data)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-30], lambda data: b"", lambda data: b"PK" + data[2:200]]
)
def test_damaged_bytes_are_refused(graph, images, damage):
    data = trained_bytes(_attack().train(ReferenceTarget(graph), images))
    with pytest.raises(InputError, match="substitute is damaged"):
        read_trained(damage(data))
