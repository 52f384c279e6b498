from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from export.qonnx_export import export_qonnx
from quant_models.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from quant_models.convnet import BinaryConvNet
from quant_models.convspec import ConvSpec, ConvStage
from quant_models.layers import BatchNorm, UnsignedActivation
from quant_models.mlp import build_model

_SIGNS = ConvSpec(
    name="signs",
    input_shape=(8, 8, 2),
    stages=(ConvStage(channels=4, kernel=3), ConvStage(channels=6, kernel=3, pool=2)),
    hidden=(5,),
    classes=3,
)
_PAPER = ConvSpec(
    name="paper",
    input_shape=(9, 9, 1),
    stages=(
        ConvStage(channels=4, kernel=4, stride=2, padding=2, weights="int8", relu=True),
        ConvStage(channels=5, kernel=2, relu=True, scaled=True),
        ConvStage(
            channels=6, kernel=2, relu=True, scaled=True, norm=False, activation=4, activation_exponent=4
        ),
    ),
    classes=3,
    classifier="int8",
    input_grid="unsigned",
)
_BOTH = pytest.mark.parametrize("spec", [_SIGNS, _PAPER], ids=lambda spec: spec.name)


def _network(spec: ConvSpec) -> BinaryConvNet:
    torch.set_num_threads(1)
    model = build_model(spec)
    height, width, channels = spec.input_shape
    for _ in range(3):
        model(torch.rand(16, channels, height, width))
    for norm in model.modules():
        if isinstance(norm, BatchNorm):
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias, std=0.3)
    return model.eval()


def _images(spec: ConvSpec, count: int) -> torch.Tensor:
    height, width, channels = spec.input_shape
    return torch.randint(0, 256, (count, channels, height, width)).float() / 255.0


@_BOTH
@torch.no_grad()
def test_logits_are_integers_on_their_grid_in_any_precision(spec: ConvSpec) -> None:
    model = _network(spec)
    images = _images(spec, 20)
    logits = model(images)
    integers = logits * 2.0**model.logit_exponent
    assert torch.equal(integers, integers.round())
    assert len(torch.unique(integers)) >= 5
    last_inputs = model.features(model.grid(images)).double()
    exact = last_inputs @ model.classifier.quant_weight().value.double().T  # pyright: ignore
    assert torch.equal(logits.double() / logits.double().abs().max(), exact / exact.abs().max())


@_BOTH
@torch.no_grad()
def test_qonnx_computes_the_same_logits(tmp_path: Path, spec: ConvSpec) -> None:
    model = _network(spec)
    export_qonnx(model, tmp_path / "a.onnx", input_shape=spec.input_shape)
    wrapper: Any = ModelWrapper(str(tmp_path / "a.onnx"))
    wrapper = wrapper.transform(InferShapes())
    for image in _images(spec, 3).split(1):
        found = execute_onnx(wrapper, {wrapper.graph.input[0].name: image.numpy()})
        assert np.array_equal(found[wrapper.graph.output[0].name], model(image).numpy())


@_BOTH
@torch.no_grad()
def test_a_checkpoint_computes_the_same_logits(tmp_path: Path, spec: ConvSpec) -> None:
    model = _network(spec)
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, model, CheckpointMetadata())
    loaded = load_checkpoint(path)
    assert loaded.spec == spec
    images = _images(spec, 10)
    assert torch.equal(loaded.build()(images), model(images))


def test_unsigned_activation_rounds_halves_to_even_and_clamps() -> None:
    layer = UnsignedActivation(bits=4, exponent=2).eval()
    found = layer(torch.tensor([-1.0, 0.125, 0.375, 0.4, 9.0]))
    assert found.tolist() == [0.0, 0.0, 0.5, 0.5, 3.75]
