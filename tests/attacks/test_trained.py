"""The attacks on networks that really were trained, on real 8x8 digits."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.archive import load_attack, make_archive, save_attack
from attacks.fgsm import Fgsm
from attacks.goal import Goal
from attacks.pgd import Pgd
from attacks.replay import replay
from attacks.surrogate import Surrogate
from attacks.torch_target import TorchTarget
from export.graphfile import graph_hash
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.emulator import EmulatorTarget
from hw.qonnx_target import QonnxTarget
from hw.reference import ReferenceTarget
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


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_qonnx(model, path, input_shape=(8, 8, 1))
    return path


@pytest.fixture(scope="module")
def graph(exported):
    return lower_model(exported)


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
        Pgd(eps=0.15, restarts=restarts, seed=1, flips=0).craft(model, digits.images, digits.labels).success
        for restarts in (1, 4)
    )
    assert np.all(many >= one)
    assert many.sum() > one.sum()


def test_targeted_attack_reaches_its_class(model, digits):
    attack = Pgd(eps=0.3, goal=Goal.NEXT)
    result = attack.craft(model, digits.images, digits.labels)
    assert result.success.mean() > 0.5


def test_module_and_graph_agree_in_every_layer(model, graph, digits):
    torch_target, reference = TorchTarget(model, graph), ReferenceTarget(graph)
    adversarial = Pgd(eps=0.2, steps=5).craft(model, digits.images, digits.labels).adversarial
    for images in (digits.images, adversarial):
        expected = reference.trace(images)
        traced = torch_target.trace(images)
        assert len(traced) >= 3
        for name, values in traced.items():
            np.testing.assert_array_equal(values, expected[name])


def test_replay_on_all_simulations_without_a_clock(model, graph, exported, digits, tmp_path):
    attack = Pgd(eps=0.2, steps=10)
    result = attack.craft(model, digits.images, digits.labels)
    archive = make_archive(
        attack, result, originals=digits.images, labels=digits.labels, graph_hash=graph_hash(graph)
    )
    save_attack(tmp_path / "attack.npz", archive)
    targets = [
        TorchTarget(model, graph),
        ReferenceTarget(graph),
        EmulatorTarget(graph, threads=1),
        QonnxTarget(exported, graph),
        TorchTarget(Surrogate(graph), graph),
    ]
    targets[-1].name = "surrogate"
    report = replay(load_attack(tmp_path / "attack.npz"), targets, graph_hash=graph_hash(graph), trace=True)
    report.check()
    standing = int((~result.success).sum())
    assert {part.adversarial.correct for part in report.targets} == {standing}


def test_surrogate_attacks_about_as_well_as_the_module(model, graph, digits):
    attack = Pgd(eps=0.2)
    through_module = attack.craft(model, digits.images, digits.labels).success.mean()
    result = attack.craft(Surrogate(graph), digits.images, digits.labels)
    fooled = ReferenceTarget(graph).infer(result.adversarial).labels != digits.labels
    np.testing.assert_array_equal(fooled, result.success)
    assert fooled.mean() > through_module - 0.1
