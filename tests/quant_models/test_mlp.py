from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_models.layers import BatchNorm, BinaryActivation
from quant_models.mlp import BinaryMlp, build_model
from quant_models.spec import PRESETS, MlpSpec

IntegerLogits = Callable[[BinaryMlp, np.ndarray], np.ndarray]

# Zeroes, ties at half-integers, negative slopes, and statistics that leave every accumulator on one side.
_GAMMAS = (0.0, -0.0, 1.0, -1.0, 0.3, -0.7, 1e-20, -1e-20, 1e18, 1e-38)
_BETAS = (0.0, -0.0, 0.5, -0.25, 3.0, 1e-30, -1e30)
_MEANS = (0.0, 1.0, -2.0, 0.5, 0.1, 1e6, -1e6)
_VARS = (0.0, 1e-12, 1.0, 0.99999, 1e12)

_SPECS = st.builds(
    MlpSpec,
    name=st.just("any"),
    input_shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    hidden=st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
    classes=st.integers(2, 6),
    input_mode=st.sampled_from(["binary", "uint8"]),
    output_affine=st.booleans(),
)


def _disturb(model: BinaryMlp, generator: np.random.Generator) -> None:
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, BatchNorm):
                for tensor, choices in (
                    (norm.weight, _GAMMAS),
                    (norm.bias, _BETAS),
                    (norm.running_mean, _MEANS),
                    (norm.running_var, _VARS),
                ):
                    drawn = generator.choice(choices, tensor.shape[0]).astype(np.float32)
                    tensor.copy_(torch.from_numpy(drawn))
        if model.affine is not None:
            model.affine.weight.copy_(torch.from_numpy(generator.normal(0, 4, model.spec.classes)))
            model.affine.bias.copy_(torch.from_numpy(generator.normal(0, 100, model.spec.classes)))


def _check_exact(model: BinaryMlp, images: np.ndarray, integer_logits: IntegerLogits) -> None:
    pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, 3, 1))).float() / 255
    with torch.no_grad():
        logits = model(pixels).double().numpy() * 2.0**model.logit_exponent
    assert np.array_equal(logits, np.round(logits))
    assert np.array_equal(logits.astype(np.int64), integer_logits(model, images))


@settings(max_examples=150)
@given(spec=_SPECS, seed=st.integers(0, 1 << 32))
def test_eval_mode_equals_integers(spec: MlpSpec, seed: int, integer_logits: IntegerLogits) -> None:
    generator = np.random.default_rng(seed)
    model = build_model(spec)
    _disturb(model, generator)
    images = generator.choice([0, 1, 127, 128, 129, 255], (9, *spec.input_shape)).astype(np.uint8)
    _check_exact(model.eval(), images, integer_logits)


@pytest.mark.parametrize("mode", ["binary", "uint8"])
@pytest.mark.parametrize("affine", [False, True])
def test_large_network_equals_integers(mode: Any, affine: bool, integer_logits: IntegerLogits) -> None:
    generator = np.random.default_rng(3)
    spec = replace(PRESETS["sfc"], input_mode=mode, output_affine=affine)
    model = build_model(spec)
    for _ in range(3):
        model(torch.rand(64, 1, 28, 28))
    images = generator.integers(0, 256, (200, 28, 28, 1)).astype(np.uint8)
    _check_exact(model.eval(), images, integer_logits)


def test_no_hidden_layer_is_exact(integer_logits: IntegerLogits) -> None:
    for mode in ("binary", "uint8"):
        spec = MlpSpec(name="flat", input_shape=(3, 4, 2), hidden=(), classes=3, input_mode=mode)
        images = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 2)).astype(np.uint8)
        _check_exact(build_model(spec).eval(), images, integer_logits)


def test_batch_does_not_change_an_image() -> None:
    model = build_model(PRESETS["tfc"])
    x = torch.rand(33, 1, 28, 28)
    model(x)
    model.eval()
    alone = torch.cat([model(image[None]) for image in x])
    assert torch.equal(model(x), alone)


def test_activations_stand_in_dataflow_order() -> None:
    spec = MlpSpec(name="any", input_shape=(4, 4, 1), hidden=(5, 3), classes=2)
    widths: list[int] = []
    for count, mode in ((3, "binary"), (2, "uint8")):
        model = build_model(replace(spec, input_mode=mode)).eval()
        found = [module for module in model.modules() if isinstance(module, BinaryActivation)]
        assert len(found) == count
        widths.clear()
        for module in found:
            module.register_forward_hook(lambda _module, _inputs, output: widths.append(output[0].numel()))
        model(torch.rand(2, 1, 4, 4))
        assert widths == [16, 5, 3][-count:]


@pytest.mark.parametrize("mode", ["binary", "uint8"])
def test_gradient_reaches_every_pixel(mode: Any) -> None:
    model = build_model(replace(PRESETS["tfc"], input_mode=mode))
    x = torch.rand(64, 1, 28, 28)
    for _ in range(20):
        model(x)
    model.eval()
    x.requires_grad_()
    model(x)[:, 0].sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(dim=0) > 0).all())


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("mode", ["binary", "uint8"])
def test_export_hides_nothing(tmp_path: Path, mode: Any, affine: bool) -> None:
    spec = MlpSpec(
        name="any", input_shape=(4, 4, 1), hidden=(5, 3), classes=2, input_mode=mode, output_affine=affine
    )
    model = build_model(spec).eval()
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        # Brevitas and torch warn about their own deprecated parts, at import too.
        warnings.simplefilter("ignore")
        from brevitas.export import export_qonnx

        export_qonnx(
            model, args=torch.rand(1, 1, 4, 4), export_path=str(path), dynamo=False, opset_version=13
        )
    operators = [node.op_type for node in onnx.load(path).graph.node]
    weights = ["BipolarQuant", "Transpose", "MatMul"]
    expected = ["Mul", "Round", "Mul", "Sub", *(["BipolarQuant"] if mode == "binary" else []), "Flatten"]
    expected += [*weights, "Mul", "Add", "BipolarQuant"] * 2 + [*weights, "Mul"] + ["Add"] * affine
    assert operators == expected
