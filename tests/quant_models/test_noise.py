from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from quant_models.layers import BinaryActivation
from quant_models.mlp import build_model
from quant_models.noise import add_sign_noise
from quant_models.spec import MlpSpec
from quant_models.trainconfig import TrainConfig
from quant_models.training import train

_SPEC = MlpSpec(name="t", input_shape=(4, 4, 1), hidden=(200,), classes=4)


def _share_of_ones(amplitude: float, kind: Any, *, training: bool) -> tuple[float, bool]:
    """Part of +1 among the hidden signs whose argument is 0.5, and whether pixels' signs stayed."""
    model = build_model(_SPEC)
    add_sign_noise(model, amplitude, kind)
    signs = [part for part in model.modules() if isinstance(part, BinaryActivation)]
    model.train(training)
    torch.manual_seed(0)
    found = signs[1](torch.full((500, 200), 0.5))
    return float((found > 0).float().mean()), bool((signs[0](torch.full((5, 4), 0.1)) == 1).all())


@pytest.mark.parametrize(
    ("amplitude", "kind", "expected"),
    [(1.0, "uniform", 0.75), (2.0, "uniform", 0.625), (0.4, "uniform", 1.0), (1.0, "gaussian", 0.6915)],
)
def test_probability_in_training(amplitude: float, kind: str, expected: float) -> None:
    found, pixels_stay = _share_of_ones(amplitude, kind, training=True)
    assert found == pytest.approx(expected, abs=0.006)
    assert pixels_stay


def test_none_in_eval_mode_or_without_amplitude() -> None:
    assert _share_of_ones(5.0, "uniform", training=False)[0] == 1.0
    assert _share_of_ones(0.0, "gaussian", training=True)[0] == 1.0


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
def test_training_with_noise_learns_and_repeats(tmp_path: Path, make_dataset: Any, kind: Any) -> None:
    config = TrainConfig(epochs=12, batch_size=20, sign_noise=0.5, sign_noise_kind=kind)
    results = [
        train(_SPEC, make_dataset(), config, checkpoint=tmp_path / f"{number}.safetensors")
        for number in range(2)
    ]
    assert results[0].test_accuracy > 0.8
    assert results[0].checkpoint.read_bytes() == results[1].checkpoint.read_bytes()
