"""The attacks on networks that really were trained, on real 8x8 digits."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.fgsm import Fgsm
from attacks.goal import Goal
from attacks.pgd import Pgd
from quant_models.checkpoint import load_checkpoint
from quant_models.data import load_dataset
from quant_models.spec import MlpSpec
from quant_models.training import TrainConfig, train


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").test


@pytest.fixture(scope="module", params=["binary", "uint8"])
def model(request, tmp_path_factory):
    spec = MlpSpec(name="tiny", input_shape=(8, 8, 1), hidden=(48, 48), classes=10, input_mode=request.param)
    path = tmp_path_factory.mktemp("trained") / f"{request.param}.safetensors"
    train(spec, load_dataset("digits"), TrainConfig(epochs=10, batch_size=64), checkpoint=path)
    return load_checkpoint(path).build()


def _accuracy(attack, model, digits):
    return 1 - attack.craft(model, digits.images, digits.labels).success.mean()


def test_attacks_take_the_accuracy_away(model, digits):
    clean = _accuracy(Fgsm(eps=0), model, digits)
    fgsm = _accuracy(Fgsm(eps=0.2), model, digits)
    pgd = _accuracy(Pgd(eps=0.2), model, digits)
    assert clean > 0.8
    assert fgsm < clean - 0.3
    assert pgd < fgsm
    assert _accuracy(Pgd(eps=0.3), model, digits) < 0.25


def test_gradients_beat_noise_of_the_same_size(model, digits):
    draw = np.random.default_rng(0)
    noise = draw.choice([-51, 51], digits.images.shape)
    noisy = np.clip(digits.images.astype(int) + noise, 0, 255).astype(np.uint8)
    clean = Fgsm(eps=0).craft(model, noisy, digits.labels)
    assert 1 - clean.success.mean() > _accuracy(Pgd(eps=0.2), model, digits) + 0.3


def test_restarts_find_more(model, digits):
    one, many = (
        Pgd(eps=0.15, restarts=restarts, seed=1).craft(model, digits.images, digits.labels).success
        for restarts in (1, 4)
    )
    assert np.all(many >= one)
    assert many.sum() > one.sum()


def test_targeted_attack_reaches_its_class(model, digits):
    attack = Pgd(eps=0.3, goal=Goal.NEXT)
    result = attack.craft(model, digits.images, digits.labels)
    assert result.success.mean() > 0.5
