from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quant_models.checkpoint import load_checkpoint
from quant_models.data import Dataset, ImageSet
from quant_models.layers import BatchNorm
from quant_models.mlp import build_model
from quant_models.paperspec import PAPER_PRESETS
from quant_models.recalibration import recalibrate
from quant_models.training import TrainConfig, train


def _pixels(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("letter", ["b", "c", "s"])
def test_each_normalisation_gets_the_moments_of_what_it_sees(letter: str) -> None:
    torch.manual_seed(0)
    spec = replace(PAPER_PRESETS[f"paper-{letter}-64"], features=4)
    model = build_model(spec).eval()
    norms = [part for part in model.modules() if isinstance(part, BatchNorm)]
    pixels = _pixels(40)
    recalibrate(model, pixels)
    for norm in norms:
        seen: list[torch.Tensor] = []

        def keep(_: object, inputs: tuple[torch.Tensor, ...], kept: list[torch.Tensor] = seen) -> None:
            kept.append(inputs[0])

        handle = norm.register_forward_pre_hook(keep)
        with torch.no_grad():
            model(pixels.float() / 255.0)
        handle.remove()
        rows = seen[0].transpose(0, 1).flatten(1).double()
        torch.testing.assert_close(norm.running_mean.double(), rows.mean(1), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(norm.running_var.double(), rows.var(1), rtol=1e-5, atol=1e-6)


def test_batches_and_repetition_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = build_model(replace(PAPER_PRESETS["paper-c-64"], features=4)).eval()
    pixels = _pixels(30)
    recalibrate(model, pixels)
    once = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr("quant_models.recalibration._BATCH", 7)
    recalibrate(model, pixels)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, once[name], rtol=1e-5, atol=1e-6)


def test_training_ends_with_it(tmp_path: Path) -> None:
    labels = np.arange(40) % 10
    images = ImageSet(images=_pixels(40).permute(0, 2, 3, 1).contiguous().numpy(), labels=labels)
    names = tuple("0123456789")
    dataset = Dataset(name="mnist", classes=names, train=images, test=images)
    spec = replace(PAPER_PRESETS["paper-c-64"], features=4)
    arrays = {}
    for count in (0, 32):
        config = TrainConfig(
            epochs=1, batch_size=20, warmup_epochs=0, validation_fraction=0.0, recalibration_images=count
        )
        result = train(spec, dataset, config, checkpoint=tmp_path / f"{count}.safetensors")
        arrays[count] = load_checkpoint(result.checkpoint)
    changed = {
        name for name, value in arrays[0].arrays.items() if not np.array_equal(value, arrays[32].arrays[name])
    }
    assert changed
    assert all("mean" in name or "var" in name for name in changed)
