from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.errors import InputError
from quant_models.checkpoint import CheckpointMetadata, save_checkpoint
from quant_models.convspec import CONV_PRESETS
from quant_models.ensemble import Ensemble, load_ensemble
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec
from quant_models.stochastic import set_frames

_SPEC = MlpSpec(name="t", input_shape=(28, 28, 1), hidden=(8,), classes=10)
_STAGES = tuple(replace(stage, channels=4) for stage in CONV_PRESETS["paper-cnn-64-stochastic"].stages)
_DRAWN = replace(CONV_PRESETS["paper-cnn-64-stochastic"], stages=_STAGES)


def test_logits_are_the_mean_and_gradients_reach_the_image() -> None:
    members = [build_model(_SPEC).eval(), build_model(_SPEC).eval()]
    images = torch.rand(3, 1, 28, 28, requires_grad=True)
    found = Ensemble(members)(images)
    assert torch.equal(found, (members[0](images) + members[1](images)) / 2)
    found.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0


def test_drawn_members_follow_the_frame() -> None:
    ensemble = Ensemble([build_model(_SPEC), build_model(_DRAWN)]).eval()
    images = torch.rand(1, 1, 28, 28).repeat(2, 1, 1, 1)
    set_frames(ensemble, seed=1, first_frame=7)
    logits = ensemble(images)
    set_frames(ensemble, seed=1, first_frame=8)
    assert not torch.equal(logits[0], logits[1])
    assert torch.equal(ensemble(images[:1])[0], logits[1])


def test_files(tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    members = [build_model(_SPEC).eval() for _ in paths]
    for path, member in zip(paths, members, strict=True):
        save_checkpoint(path, member, CheckpointMetadata())
    images = torch.rand(2, 1, 28, 28)
    loaded = load_ensemble(paths)
    assert not loaded.training
    assert (loaded.input_shape, loaded.classes) == ((28, 28, 1), 10)
    assert torch.equal(loaded(images), Ensemble(members).eval()(images))


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        Ensemble([])
    with pytest.raises(InputError, match="3 classes; t has"):
        Ensemble([build_model(_SPEC), build_model(replace(_SPEC, classes=3))])
