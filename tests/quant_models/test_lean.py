from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from quant_models.convspec import CONV_PRESETS, ConvSpec, ConvStage
from quant_models.lean import frozen_forward
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec
from quant_models.stochastic import one_draw

_PAPER = CONV_PRESETS["paper-cnn-64"]
_POOLED = ConvSpec(
    name="pooled",
    input_shape=(12, 12, 3),
    stages=(ConvStage(channels=8, kernel=3, pool=2), ConvStage(channels=6, kernel=3, relu=True)),
    hidden=(7,),
    classes=4,
)
_SPECS = {
    "paper": replace(_PAPER, stages=tuple(replace(stage, channels=8) for stage in _PAPER.stages)),
    "scaled": CONV_PRESETS["paper-cnn-64-scaled"],
    "stochastic": CONV_PRESETS["paper-cnn-64-stochastic"],
    "dense": MlpSpec(name="dense", input_shape=(6, 6, 1), hidden=(9,), classes=4, input_mode="uint8"),
}


@pytest.mark.parametrize("name", _SPECS)
def test_same_logits_and_gradients(name: str) -> None:
    spec = _SPECS[name]
    model = build_model(spec)
    images = torch.rand(5, spec.input_shape[2], *spec.input_shape[:2])
    labels = torch.randint(0, spec.classes, (5,))
    # Statistics, and gammas of both signs, that are not the fresh network's.
    model(images)
    for part in model.modules():
        if type(part).__name__ == "BatchNorm":
            torch.nn.init.normal_(part.weight)  # type: ignore[arg-type]
            torch.nn.init.normal_(part.bias)  # type: ignore[arg-type]
    model.eval()
    found = []
    with one_draw(model):
        for forward in (model, frozen_forward(model)):
            torch.manual_seed(1)
            given = images.clone().requires_grad_()
            logits = forward(given)
            (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, labels), given)
            found.append((logits.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1].abs().max() > 0
    torch.testing.assert_close(
        found[1][1], found[0][1], rtol=1e-4, atol=1e-6 * float(found[0][1].abs().max())
    )


def test_hidden_dense_layers_take_the_general_way() -> None:
    model = build_model(_POOLED).eval()
    images = torch.rand(3, 3, 12, 12)
    assert torch.equal(frozen_forward(model)(images), model(images))
