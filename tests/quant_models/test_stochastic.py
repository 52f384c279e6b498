from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from export.draws import draw_weights
from export.lowering import lower_model
from export.qonnx_export import Exporter, export_qonnx
from hw.reference import ReferenceTarget
from quant_models.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from quant_models.convspec import CONV_PRESETS, ConvSpec, ConvStage, network_from_dict
from quant_models.layers import BatchNorm
from quant_models.mlp import build_model
from quant_models.stochastic import StochasticConv2d, one_draw, set_frames

_SPEC = ConvSpec(
    name="drawn",
    input_shape=(8, 8, 1),
    stages=(
        ConvStage(channels=3, kernel=3, weights="int8", relu=True),
        ConvStage(
            channels=5,
            kernel=3,
            weights="stochastic",
            relu=True,
            norm=False,
            activation=4,
        ),
    ),
    classes=3,
    classifier="int8",
    input_grid="unsigned",
)


def _layer(*, padding: int = 0, stride: int = 1) -> StochasticConv2d:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    layer = StochasticConv2d(3, 4, 2, layer=7, stride=stride, padding=padding)
    torch.nn.init.uniform_(layer.weight, -1.2, 1.2)
    return layer.eval()


def _signs(count: int) -> torch.Tensor:
    return torch.randint(0, 2, (count, 3, 5, 5)).float() * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize(("padding", "stride"), [(0, 1), (1, 2)])
def test_each_image_is_convolved_with_the_weights_of_its_frame(padding: int, stride: int) -> None:
    layer = _layer(padding=padding, stride=stride)
    layer.seed, layer.first_frame = 11, 40
    images = _signs(5)
    found = layer(images)
    rows = layer.means().transpose(0, 2, 3, 1).reshape(4, -1)
    for index, image in enumerate(images):
        drawn = draw_weights(rows, seed=11, layer=7, frame=40 + index)
        weight = torch.from_numpy(drawn.reshape(4, 2, 2, 3).transpose(0, 3, 1, 2).astype(np.float32))
        expected = functional.conv2d(image[None], weight, stride=stride, padding=padding)
        assert torch.equal(found[index : index + 1], expected)


@torch.no_grad()
def test_a_frame_depends_on_its_index_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _layer()
    images = _signs(6)
    set_frames(layer, seed=5, first_frame=0)
    whole = layer(images)
    # Two frames at once.
    monkeypatch.setattr("quant_models.stochastic._CHUNK_ELEMENTS", 2 * 48)
    assert torch.equal(layer(images), whole)
    set_frames(layer, seed=5, first_frame=4)
    assert torch.equal(layer(images[4:]), whole[4:])
    set_frames(layer, seed=6, first_frame=0)
    assert not torch.equal(layer(images), whole)
    assert layer(images[:0]).shape == (0, 4, 4, 4)


def test_means_stay_in_eight_bits() -> None:
    layer = _layer()
    with torch.no_grad():
        layer.weight.view(-1)[:4] = torch.tensor([1.0, -1.0, 0.6 / 128, -0.5])
    assert layer.means().reshape(-1)[:4].tolist() == [127, -128, 1, -64]


@torch.no_grad()
def test_training_draws_from_torchs_generator_around_the_means() -> None:
    layer = _layer().train()
    layer.weight[:] = 0.5
    one_hot = torch.zeros(1, 3, 2, 2)
    one_hot[0, 1, 0, 0] = 1
    torch.manual_seed(1)
    drawn = torch.cat([layer(one_hot) for _ in range(500)])
    assert set(drawn.flatten().tolist()) == {-1.0, 1.0}
    # 2,000 draws of P(+1) = 3/4: five standard deviations are 0.1 of the mean of ±1.
    assert abs(float(drawn.mean()) - 0.5) < 0.1
    torch.manual_seed(1)
    assert torch.equal(layer(one_hot), drawn[:1])


def test_gradient_passes_draw_rounding_and_clamping() -> None:
    layer = _layer().train()
    with torch.no_grad():
        layer.weight[0] = 1.0
    x = torch.ones(2, 3, 2, 2, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.full_like(layer.weight, 2.0))
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_one_draw_in_eval_mode_is_shared_by_the_batch() -> None:
    layer = _layer()
    image = _signs(1)
    with one_draw(layer):
        found = layer(image.expand(4, -1, -1, -1))
        assert any(not torch.equal(layer(image), found[:1]) for _ in range(5))
    assert torch.equal(found, found[:1].expand_as(found))
    assert torch.equal(layer(image), layer(image))


@torch.no_grad()
def test_gradient_to_the_image_in_eval_mode() -> None:
    layer = _layer()
    with torch.enable_grad():
        x = _signs(2).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x)[0].sum(), x)
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0


@torch.no_grad()
def test_a_checkpoint_keeps_the_means(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = build_model(_SPEC).eval()
    save_checkpoint(tmp_path / "a.safetensors", model, CheckpointMetadata())
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.spec == _SPEC
    assert loaded.arrays["conv.1.means"].dtype == np.int8
    images = torch.randint(0, 256, (9, 1, 8, 8)).float() / 255
    assert torch.equal(loaded.build()(images), model(images))
    assert len(torch.unique(model(images[:1].expand(9, -1, -1, -1)), dim=0)) > 1


def test_presets_have_a_drawn_third_layer() -> None:
    for features in (64, 128, 256):
        spec = CONV_PRESETS[f"paper-cnn-{features}-stochastic"]
        assert [stage.weights for stage in spec.stages] == ["int8", "binary", "stochastic"]
        assert not any(stage.scaled for stage in spec.stages)
        assert network_from_dict(spec.to_dict()) == spec


@torch.no_grad()
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_exported_graph_draws_the_same(tmp_path: Path, norm: bool, exporter: Exporter) -> None:
    torch.manual_seed(2)
    torch.set_num_threads(1)
    drawn = replace(_SPEC.stages[1], norm=norm)
    model = build_model(replace(_SPEC, stages=(_SPEC.stages[0], drawn)))
    for _ in range(30):
        model(torch.rand(16, 1, 8, 8))
    for part in model.modules():
        if isinstance(part, BatchNorm):
            torch.nn.init.normal_(part.weight, std=5.0)
            torch.nn.init.normal_(part.bias, mean=4.0)
    model.eval()
    export_qonnx(model, tmp_path / "a.onnx", input_shape=(8, 8, 1), exporter=exporter)
    graph = lower_model(tmp_path / "a.onnx")
    assert [node.draw for node in graph.mvaus] == [None, 1, None]
    images = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    set_frames(model, seed=9, first_frame=5)
    logits = model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255) * 2.0**model.logit_exponent
    assert np.array_equal(logits.numpy(), ReferenceTarget(graph, seed=9).infer(images, 5).logits)
    assert len(np.unique(logits.numpy())) > 5
