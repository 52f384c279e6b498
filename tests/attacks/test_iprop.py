from __future__ import annotations

import numpy as np
import pytest

from attacks.catalog import make_attack
from attacks.iprop import Iprop
from attacks.surrogate import Surrogate
from export.errors import InputError
from hw.reference import ReferenceTarget


@pytest.fixture
def crafted(binarised_graph):
    numbers = np.random.default_rng(5)
    images = numbers.integers(100, 156, (24, *binarised_graph.input_shape), dtype=np.uint8)
    labels = ReferenceTarget(binarised_graph).infer(images).logits.argmax(1)
    attack = make_attack("iprop", eps=40 / 255, steps=12, step_size=8)
    return images, labels, attack, attack.craft(Surrogate(binarised_graph), images, labels, batch_size=24)


def test_images_fool_the_integer_network_inside_the_ball(crafted, binarised_graph):
    images, labels, _, result = crafted
    predicted = ReferenceTarget(binarised_graph).infer(result.adversarial).logits.argmax(1)
    assert np.array_equal(predicted != labels, result.success)
    assert np.abs(result.adversarial.astype(int) - images).max() <= 40
    noise = np.random.default_rng(0).choice([-40, 40], images.shape)
    random = ReferenceTarget(binarised_graph).infer((images + noise).astype(np.uint8)).logits.argmax(1)
    assert result.success.mean() > max(0.3, (random != labels).mean())


def test_neighbours_do_not_matter(crafted, binarised_graph):
    images, labels, attack, whole = crafted
    part = attack.craft(Surrogate(binarised_graph), images[7:10], labels[7:10], batch_size=5, first_index=7)
    assert np.array_equal(part.adversarial, whole.adversarial[7:10])


def test_a_target_class_is_reached(crafted, binarised_graph):
    images, labels, _, _ = crafted
    attack = make_attack("iprop", eps=60 / 255, steps=20, step_size=8, goal="next")
    result = attack.craft(Surrogate(binarised_graph), images, labels, batch_size=24)
    predicted = ReferenceTarget(binarised_graph).infer(result.adversarial).logits.argmax(1)
    assert result.success.any()
    assert np.array_equal(predicted == result.targets, result.success)


def test_a_model_without_a_graph_is_refused(net, images, labels):
    with pytest.raises(InputError, match="integers"):
        Iprop(eps=0.1).craft(net, images, labels)


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"step_size": 0}, {"form": "float"}])
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError):
        make_attack("iprop", eps=0.1, **parameters)
