from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attacks.torch_target import TorchTarget
from export.errors import InputError
from export.graph import Add, Pool
from export.lowering import lower_with_notes
from export.qonnx_export import export_qonnx
from hw.reference import ReferenceTarget
from quant_models.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from quant_models.convspec import network_from_dict
from quant_models.resnet import BinaryResNet
from quant_models.resspec import RESNET_PRESETS, ResNetSpec

_TINY = ResNetSpec(
    name="tiny",
    input_shape=(13, 12, 3),
    stem_stride=1,
    stages=((6, 2), (8, 2)),
    classes=5,
    bits=3,
    exponent=1,
)


def _network(spec: ResNetSpec) -> BinaryResNet:
    """Fresh weights, statistics of random images, and factors of either sign."""
    height, width, channels = spec.input_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = BinaryResNet(spec)
        for name, parameter in model.named_parameters():
            if name.endswith("branch.0.weight"):
                parameter.data = torch.randn(parameter.shape)
        with torch.no_grad():
            for _ in range(3):
                model(torch.rand(16, channels, height, width))
    return model.eval()


def _images(spec: ResNetSpec, count: int) -> Any:
    return np.random.default_rng(4).integers(0, 256, (count, *spec.input_shape), dtype=np.uint8)


@pytest.mark.parametrize("spec", RESNET_PRESETS.values(), ids=lambda spec: spec.name)
def test_specs_come_back_from_json(spec: ResNetSpec) -> None:
    assert network_from_dict(json.loads(spec.to_json())) == spec


def test_shapes_of_the_presets() -> None:
    resnet18 = RESNET_PRESETS["resnet18"]
    assert len(resnet18.blocks) == 16
    assert sum(kernel == 1 for _, _, kernel in resnet18.convolutions) == 3
    assert (resnet18.last_side, resnet18.average_side) == ((7, 7), (8, 8))


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_integer_network_computes_what_torch_does(tmp_path: Path, exporter: Any) -> None:
    model = _network(_TINY)
    export_qonnx(model, tmp_path / "m.onnx", input_shape=_TINY.input_shape, exporter=exporter)
    lowered = lower_with_notes(tmp_path / "m.onnx")
    assert sum(isinstance(node, Add) for node in lowered.graph.nodes) == 4
    assert [node.mode for node in lowered.graph.nodes if isinstance(node, Pool)] == ["max", "sum"]
    images = _images(_TINY, 8)
    expected = ReferenceTarget(lowered.graph).trace(images)
    target = TorchTarget(model, lowered.graph)
    np.testing.assert_array_equal(target.infer(images).logits, expected[lowered.graph.nodes[-1].name])
    for name, values in target.trace(images).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_a_checkpoint_computes_the_same_logits(tmp_path: Path) -> None:
    model = _network(_TINY)
    save_checkpoint(tmp_path / "c.safetensors", model, CheckpointMetadata())
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert loaded.spec == _TINY
    pixels = torch.from_numpy(_images(_TINY, 4)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        assert torch.equal(loaded.build()(pixels), model(pixels))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": []}, "stages: expected pairs"),
        ({"stages": [[8]]}, "stages: expected pairs"),
        ({"stages": [[600, 1]]}, "sums of at most"),
        ({"bits": 9}, "bits: expected an integer from 2 to 8"),
        ({"classes": 1}, "classes: expected"),
        ({"stem_pool": 1}, "stem_pool: expected true or false"),
        ({"depth": 3}, "depth: unknown key"),
        ({"input_shape": [4, 4]}, "input_shape: expected three"),
    ],
)
def test_other_descriptions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network_from_dict(_TINY.to_dict() | changes)


def test_a_missing_key_is_named() -> None:
    values = _TINY.to_dict()
    del values["stages"]
    with pytest.raises(InputError, match=r"spec\.stages: missing"):
        network_from_dict(values)
