from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_models.adversarial import adversarial_images
from quant_models.checkpoint import load_checkpoint
from quant_models.convspec import ConvSpec, ConvStage
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec
from quant_models.trainconfig import TrainConfig
from quant_models.training import train

_SPEC = MlpSpec(name="t", input_shape=(4, 4, 1), hidden=(16,), classes=4, input_mode="uint8")
_CONV = ConvSpec(
    name="c",
    input_shape=(6, 6, 1),
    stages=(ConvStage(channels=6, kernel=3, weights="int8", relu=True), ConvStage(channels=8, kernel=3)),
    classes=4,
    classifier="int8",
)


class _Linear(nn.Module):
    """Loss falls along a known direction: adversarial images are known too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0], [-1.0, 2.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def _problem() -> tuple[Tensor, Tensor]:
    return torch.tensor([0.5, 0.5]).reshape(1, 1, 1, 2), torch.tensor([0])


def test_one_step_goes_against_the_label() -> None:
    images, labels = _problem()
    config = TrainConfig(adversarial_epsilon=0.1, adversarial_random_start=False)
    found = adversarial_images(_Linear(), images, labels, radius=0.1, config=config)
    assert found.flatten().tolist() == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize(("steps", "size", "expected"), [(1, 0.03, 0.03), (3, 0.03, 0.09), (5, 0.03, 0.1)])
def test_steps_add_up_to_the_radius(steps: int, size: float, expected: float) -> None:
    images, labels = _problem()
    config = TrainConfig(adversarial_steps=steps, adversarial_step_size=size, adversarial_random_start=False)
    found = adversarial_images(_Linear(), images, labels, radius=0.1, config=config)
    assert (found - images).abs().flatten().tolist() == pytest.approx([expected, expected])


def test_images_stay_in_range_and_ball() -> None:
    model = build_model(_CONV)
    images, labels = torch.rand(20, 1, 6, 6), torch.randint(0, 4, (20,))
    for steps in (1, 4):
        config = TrainConfig(adversarial_steps=steps)
        found = adversarial_images(model, images, labels, radius=0.2, config=config)
        assert (found - images).abs().max() <= 0.2 + 1e-6
        assert found.min() >= 0
        assert found.max() <= 1
        assert (found != images).any()


def test_more_steps_raise_the_loss_more() -> None:
    model = build_model(_CONV)
    images, labels = torch.rand(64, 1, 6, 6), torch.randint(0, 4, (64,))
    model(images)

    def loss(steps: int) -> float:
        config = TrainConfig(adversarial_steps=steps)
        found = adversarial_images(model, images, labels, radius=0.1, config=config)
        model.eval()
        value = float(functional.cross_entropy(model(found), labels).detach())
        model.train()
        return value

    assert loss(10) > loss(1)


def test_random_radii_are_cut_at_the_largest() -> None:
    images, labels = torch.full((2000, 1, 1, 2), 0.5), torch.zeros(2000, dtype=torch.int64)
    config = TrainConfig(adversarial_random_epsilon=True, adversarial_random_start=False)
    found = adversarial_images(_Linear(), images, labels, radius=0.2, config=config)
    moved = (found - images).abs()
    radii = moved.amax(dim=(1, 2, 3))
    torch.testing.assert_close(moved, radii.reshape(-1, 1, 1, 1).expand_as(moved))
    # |N(0, 1)| cut at 2 has mean 0.72.
    assert float(radii.max()) <= 0.2 + 1e-6
    assert float(radii.mean()) == pytest.approx(0.1 * 0.72, abs=0.004)


def test_network_keeps_statistics_gradients_and_mode() -> None:
    model = build_model(_CONV)
    frozen = model.classifier.weight
    frozen.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = torch.rand(8, 1, 6, 6), torch.randint(0, 4, (8,))
    adversarial_images(model, images, labels, radius=0.1, config=TrainConfig(adversarial_steps=2))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.requires_grad for part in model.parameters() if part is not frozen].count(False) == 0
    assert not frozen.requires_grad
    assert all(part.grad is None for part in model.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"adversarial_steps": 3},
        {"adversarial_share": 0.5},
        {"adversarial_random_epsilon": True, "adversarial_share": 0.5},
        {"adversarial_delay": 1, "adversarial_ramp": 1.5},
    ],
)
def test_training_with_each_option_learns(tmp_path: Path, make_dataset: Any, settings: Any) -> None:
    dataset = make_dataset()
    config = TrainConfig(epochs=12, batch_size=20, adversarial_epsilon=0.05, **settings)
    result = train(_SPEC, dataset, config, checkpoint=tmp_path / "m.safetensors")
    assert result.test_accuracy > 0.6
    assert load_checkpoint(result.checkpoint).metadata.config["adversarial_epsilon"] == 0.05


def test_training_on_attacks_makes_them_harder(tmp_path: Path, make_dataset: Any) -> None:
    dataset = make_dataset(train=600, test=400)
    images = torch.tensor(dataset.test.images).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor(dataset.test.labels)

    def robust_accuracy(epsilon: float) -> float:
        config = TrainConfig(epochs=15, batch_size=50, adversarial_epsilon=epsilon, adversarial_steps=4)
        model = load_checkpoint(
            train(_SPEC, dataset, config, checkpoint=tmp_path / "m.safetensors").checkpoint
        ).build()
        found = adversarial_images(model, images, labels, radius=0.2, config=replace(config, epochs=1))
        model.eval()
        return float((model(found).argmax(1) == labels).float().mean())

    assert robust_accuracy(0.2) > robust_accuracy(0.0) + 0.05


def test_epochs_before_the_full_radius_are_not_kept(tmp_path: Path, make_dataset: Any) -> None:
    config = TrainConfig(
        epochs=4,
        batch_size=20,
        validation_fraction=0.2,
        adversarial_epsilon=0.9,
        adversarial_delay=2,
        adversarial_ramp=1.0,
    )
    result = train(_SPEC, make_dataset(), config, checkpoint=tmp_path / "m.safetensors")
    # Clean epochs are better on clean images; only the last two saw the full radius at their end.
    assert result.best_epoch >= 3


def test_delayed_epochs_are_those_of_clean_training(tmp_path: Path, make_dataset: Any) -> None:
    losses: list[list[float]] = []
    for epsilon in (0.0, 0.3):
        seen: list[float] = []
        config = TrainConfig(epochs=3, batch_size=20, adversarial_epsilon=epsilon, adversarial_delay=2)
        train(
            _SPEC,
            make_dataset(),
            config,
            checkpoint=tmp_path / f"{epsilon}.safetensors",
            progress=lambda report, seen=seen: seen.append(report.loss),
        )
        losses.append(seen)
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2] != losses[1][2]
