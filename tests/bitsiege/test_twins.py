from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.torch_target import TorchTarget
from bitsiege.crafting import Gradients, parse_gradients
from bitsiege.twins import make_twin, sign_widths
from export.errors import InputError
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.reference import ReferenceTarget
from quant_models.layers import BatchNorm
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec


def _network(tmp_path, input_mode):
    torch.manual_seed(1)
    spec = MlpSpec(name="small", input_shape=(16, 15, 1), hidden=(96, 64), classes=4, input_mode=input_mode)
    module = build_model(spec)
    for part in module.modules():
        if isinstance(part, BatchNorm):
            part.running_var.uniform_(60, 300)
            part.running_mean.uniform_(-2, 2)
            part.weight.data.uniform_(0.5, 2).mul_(torch.tensor([1.0, -1.0]).repeat(len(part.weight) // 2))
    module.eval()
    export_qonnx(module, tmp_path / "small.onnx", input_shape=spec.input_shape)
    return module, lower_model(tmp_path / "small.onnx")


@pytest.mark.parametrize("input_mode", ["binary", "uint8"])
def test_with_the_same_gates_a_twin_has_the_modules_gradient(tmp_path, input_mode):
    module, graph = _network(tmp_path, input_mode)
    twin = make_twin(module, graph, gate=1.0)
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 15, 1), dtype=np.uint8)
    logits = ReferenceTarget(graph).infer(images).logits
    np.testing.assert_array_equal(TorchTarget(twin, graph).infer(images).logits, logits)
    x = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255).requires_grad_()
    rise = torch.from_numpy(np.random.default_rng(1).normal(size=(60, 4))).float()
    (own,) = torch.autograd.grad(module(x), x, rise)
    (found,) = torch.autograd.grad(twin(x), x, rise)
    likeness = torch.cosine_similarity(own.flatten(1), found.flatten(1))
    alive = own.flatten(1).norm(dim=1) > 0
    # Gates differ where a whole sum lies within one of a gate's end.
    assert alive.sum() > 30
    assert likeness[alive].mean() > 0.9
    narrow = make_twin(module, graph, gate=0.2)
    (other,) = torch.autograd.grad(narrow(x), x, rise)
    assert torch.cosine_similarity(own.flatten(1), other.flatten(1))[alive].mean() < 0.8


def test_widths_are_deviations_in_units_of_the_accumulator(tmp_path):
    module, _ = _network(tmp_path, "uint8")
    first, second = sign_widths(module)
    norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
    for width, norm, unit in ((first, norms[0], 128.0), (second, norms[1], 1.0)):
        scale = norm.affine()[0].detach().abs().numpy()
        np.testing.assert_allclose(width, unit / scale, rtol=1e-6)


def test_where_layers_do_not_tell_gates_follow_from_the_graph(tmp_path):
    _, graph = _network(tmp_path, "binary")
    twin = make_twin(torch.nn.Identity(), graph)
    x = torch.rand(2, 1, 16, 15, requires_grad=True)
    twin(x).sum().backward()
    assert x.grad.isfinite().all()


def test_gradients_have_a_name():
    assert parse_gradients("checkpoint") is Gradients.CHECKPOINT
    with pytest.raises(InputError, match="twins"):
        parse_gradients("twins")
