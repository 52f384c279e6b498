from __future__ import annotations

import numpy as np
import pytest

from attacks.catalog import make_attack
from export.errors import InputError
from hw.reference import ReferenceTarget


def test_noise_stays_in_the_ball_and_counts(graph, images, labels):
    target = ReferenceTarget(graph)
    result = make_attack("noise", eps=0.3, max_queries=20).craft(target, images, labels)
    distance = np.abs(result.adversarial.astype(int) - images).reshape(len(images), -1).max(1)
    assert distance.max() <= 76
    assert result.success.mean() > 0
    assert np.all(result.queries <= 20)
    assert np.all(result.queries[~result.success] == 20)
    np.testing.assert_array_equal(result.success, target.infer(result.adversarial).labels != labels)
    np.testing.assert_array_equal(result.adversarial[~result.success], images[~result.success])


@pytest.mark.parametrize("group", [1, 7, 64])
def test_same_seed_same_bytes_in_any_group(graph, images, labels, group):
    target, attack = ReferenceTarget(graph), make_attack("noise", eps=0.3, max_queries=10, seed=4)
    whole = attack.craft(target, images, labels)
    other = attack.craft(target, images, labels, group=group)
    assert other.adversarial.tobytes() == whole.adversarial.tobytes()
    tail = attack.craft(target, images[20:], labels[20:], first_index=20)
    assert tail.adversarial.tobytes() == whole.adversarial[20:].tobytes()


def test_noise_has_one_norm():
    with pytest.raises(InputError, match="unknown norm"):
        make_attack("noise", eps=0.3, norm="l2")
