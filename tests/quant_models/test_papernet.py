from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from export.errors import InputError
from quant_models.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from quant_models.data import Dataset, ImageSet
from quant_models.layers import BatchNorm, Scale
from quant_models.lean import frozen_forward
from quant_models.mlp import build_model
from quant_models.papernet import PaperNet, PaperSign, SignConv2d, signs
from quant_models.paperspec import PAPER_PRESETS, PaperSpec
from quant_models.stochastic import StochasticConv2d, one_draw, set_frames
from quant_models.trainconfig import TrainConfig
from quant_models.training import train

_LETTERS = "abcs"


def _spec(letter: str, **changes: Any) -> PaperSpec:
    return replace(PAPER_PRESETS[f"paper-{letter}-64"], features=4, classes=3, **changes)


def _dataset(size: int = 28, count: int = 60) -> Dataset:
    generator = np.random.default_rng(0)

    def part(number: int) -> ImageSet:
        labels = generator.integers(0, 3, number)
        images = generator.integers(0, 60, (number, size, size, 1), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[8 * label : 8 * label + 8] += 180
        return ImageSet(images=images, labels=labels.astype(np.int64))

    return Dataset(name="bands", classes=("top", "middle", "low"), train=part(count), test=part(30))


def test_weights_are_as_many_as_the_papers() -> None:
    counts = {
        letter: sum(
            part.numel() for name, part in build_model(spec).named_parameters() if name.endswith("weight")
        )
        for letter in "ab"
        for spec in [PAPER_PRESETS[f"paper-{letter}-64"]]
    }
    assert counts["a"] == 709_888
    # The two normalisations' gains stay 1 and are no weights of the paper's.
    assert counts["b"] == 709_888 + 64 + 128


@pytest.mark.parametrize("letter", _LETTERS)
def test_layers_of_each_variant(letter: str) -> None:
    model = build_model(_spec(letter))
    kinds = [type(part).__name__ for part in model.features]
    expected = {
        "a": "FloatConv2d ReLU FloatConv2d ReLU FloatConv2d ReLU Flatten",
        "b": "FloatConv2d ReLU BatchNorm PaperSign SignConv2d ReLU "
        "BatchNorm PaperSign SignConv2d ReLU Flatten",
        "c": "FloatConv2d ReLU BatchNorm PaperSign SignConv2d ReLU Scale "
        "BatchNorm PaperSign SignConv2d ReLU Scale Flatten",
        "s": "FloatConv2d ReLU BatchNorm PaperSign SignConv2d ReLU Scale "
        "BatchNorm PaperSign StochasticConv2d ReLU Scale Flatten",
    }
    assert " ".join(kinds) == expected[letter]
    assert not hasattr(model, "logit_exponent")


@pytest.mark.parametrize("size", [28, 32])
def test_shapes(size: int) -> None:
    channels = 1 if size == 28 else 3
    model = build_model(_spec("b", input_shape=(size, size, channels)))
    assert model(torch.rand(2, channels, size, size)).shape == (2, 3)


def test_signs_and_both_gradients() -> None:
    values = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
    outer = torch.tensor([3.0, 0.5, -3.0, -0.5, 0.25])
    for gradient, expected in (("clip", [1.0, 0.5, -1.0, -0.5, 0.25]), ("gate", [0.0, 0.5, -3.0, -0.5, 0.0])):
        found = signs(values, gradient)  # type: ignore[arg-type]
        assert found.tolist() == [-1, -1, 1, 1, 1]
        (inner,) = torch.autograd.grad(found, values, outer)
        assert inner.tolist() == expected


def test_initial_weights() -> None:
    model = build_model(_spec("c"))
    first, second = model.features[0], model.features[4]
    torch.testing.assert_close(first.weight.flatten(1).norm(dim=1), torch.ones(4))  # type: ignore[union-attr]
    torch.testing.assert_close(model.classifier.weight.norm(dim=1), torch.ones(3))
    assert float(second.weight.detach().std()) == pytest.approx(0.176, abs=0.02)  # type: ignore[arg-type, union-attr]
    assert [
        float(part.weight.detach()) for part in model.modules() if isinstance(part, Scale)
    ] == pytest.approx([0.05] * 2)


@pytest.mark.parametrize("gradient", ["clip", "gate"])
@pytest.mark.parametrize("letter", _LETTERS)
def test_lean_form_has_the_same_logits_and_gradients(letter: str, gradient: Any) -> None:
    model = build_model(_spec(letter, sign_gradient=gradient))
    images, labels = torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])
    model(images)
    model.eval()

    def both(forward: Any) -> tuple[Tensor, Tensor]:
        torch.manual_seed(3)
        given = images.clone().requires_grad_()
        logits = forward(given)
        return logits, torch.autograd.grad(functional.cross_entropy(logits, labels), given)[0]

    with one_draw(model):
        (logits, gradient_), (lean, lean_gradient) = both(model), both(frozen_forward(model))
    torch.testing.assert_close(lean, logits, rtol=1e-5, atol=1e-5)
    assert gradient_.abs().max() > 0
    torch.testing.assert_close(lean_gradient, gradient_, rtol=1e-4, atol=1e-6 * float(gradient_.abs().max()))


@pytest.mark.parametrize("letter", _LETTERS)
def test_training_and_file(tmp_path: Path, letter: str) -> None:
    # Drawn weights are so noisy that a few channels can't carry the class.
    spec = replace(_spec(letter), features=24 if letter == "s" else 4)
    dataset = _dataset()
    config = TrainConfig(epochs=12, batch_size=20, learning_rate=0.003, validation_fraction=0.0)
    result = train(spec, dataset, config, checkpoint=tmp_path / "m.safetensors")
    assert result.test_accuracy > 0.8
    loaded = load_checkpoint(result.checkpoint)
    assert loaded.spec == spec
    again = tmp_path / "again.safetensors"
    save_checkpoint(again, loaded.build(), loaded.metadata)
    assert again.read_bytes() == result.checkpoint.read_bytes()


def test_frozen_means_stay_and_learnt_ones_move(tmp_path: Path) -> None:
    spec, dataset = _spec("s"), _dataset()
    torch.manual_seed(1)
    start = build_model(spec)
    means = {}
    for frozen in (True, False):
        config = TrainConfig(
            epochs=3, batch_size=20, learning_rate=0.02, validation_fraction=0.0, frozen_means=frozen
        )
        result = train(spec, dataset, config, checkpoint=tmp_path / "m.safetensors")
        means[frozen] = load_checkpoint(result.checkpoint).arrays["conv.2.means"]
    drawn = next(part for part in start.modules() if isinstance(part, StochasticConv2d))
    assert np.array_equal(means[True], drawn.means())
    assert not np.array_equal(means[False], drawn.means())


def test_frozen_training_resumes(tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, batch_size=20, validation_fraction=0.0, frozen_means=True)
    whole = train(_spec("s"), _dataset(), config, checkpoint=tmp_path / "whole.safetensors")

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    parts = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(_spec("s"), _dataset(), config, checkpoint=parts, progress=stop, save_every_s=0.0)
    resumed = train(_spec("s"), _dataset(), config, checkpoint=parts)
    assert resumed.resumed_at == 1
    assert parts.read_bytes() == whole.checkpoint.read_bytes()


def test_only_gated_latent_weights_are_clipped(tmp_path: Path) -> None:
    """With a large rate latent weights leave [-1, 1] unless they are kept there."""
    largest = {}
    for gradient in ("clip", "gate"):
        found: list[float] = []
        config = TrainConfig(epochs=2, batch_size=20, learning_rate=1.0, validation_fraction=0.0)

        def watched(self: SignConv2d, x: Tensor, found: list[float] = found) -> Tensor:
            found.append(float(self.weight.detach().abs().max()))
            return functional.conv2d(x, signs(self.weight, self.gradient), stride=self.stride)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SignConv2d, "forward", watched)
            train(
                _spec("b", sign_gradient=gradient), _dataset(), config, checkpoint=tmp_path / "m.safetensors"
            )
        largest[gradient] = max(found)
    assert largest["gate"] <= 1
    assert largest["clip"] > 1


def test_drawn_weights_follow_the_frame() -> None:
    model = build_model(_spec("s")).eval()
    images = torch.rand(1, 1, 28, 28).repeat(3, 1, 1, 1)
    set_frames(model, seed=5, first_frame=10)
    logits = model(images)
    assert not torch.equal(logits[0], logits[1])
    set_frames(model, seed=5, first_frame=11)
    torch.testing.assert_close(model(images[:2]), logits[1:])


def test_gains_are_no_parameters_to_learn() -> None:
    model = build_model(_spec("b"))
    norms = [part for part in model.modules() if isinstance(part, BatchNorm)]
    assert len(norms) == 2
    assert all(not norm.weight.requires_grad and norm.bias.requires_grad for norm in norms)


def test_sign_marks_itself_for_tracing() -> None:
    model = PaperNet(_spec("b"))
    assert [part.emits_activation for part in model.modules() if isinstance(part, PaperSign)] == [True, True]


def test_wrong_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = build_model(_spec("a")).eval()
    with torch.no_grad():
        model.classifier.weight[0, 0] = float("nan")
    save_checkpoint(path, model, CheckpointMetadata())
    with pytest.raises(InputError, match=r"linear\.0\.floats: holds NaN"):
        load_checkpoint(path)
