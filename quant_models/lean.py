"""A network's function of its input alone: weights quantised once, for gradients that only images need.

Crafting an adversarial image calls the network several times with the same weights. Here they are quantised
once, ReLU, BatchNorm and sign are one operation, and the first convolution's gradient is a product of
matrices: about half the time of the network itself, with the same gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_models.convnet import BinaryConvNet
from quant_models.layers import BatchNorm, BinaryActivation, BinaryConv2d, Int8Conv2d
from quant_models.papernet import FloatConv2d, PaperNet, PaperSign, SignConv2d, signs

Forward = Callable[[Tensor], Tensor]


def frozen_forward(model: nn.Module) -> Forward:
    """Return what the network computes in eval mode, differentiable by its input only.

    Args:
        model: The network, in eval mode, without gradients to its parameters. It must not change while the
            result is in use.
    """
    if isinstance(model, PaperNet):
        layers, weight = [*cast("nn.Sequential", model.features)], model.classifier.weight
    elif isinstance(model, BinaryConvNet):
        layers = [model.grid, *cast("nn.Sequential", model.features)]
        weight = cast("Tensor", cast("Any", model.classifier).quant_weight().value) * model.logit_step
    else:
        return model
    steps = _frozen_steps(layers)

    def forward(images: Tensor) -> Tensor:
        for step in steps:
            images = step(images)
        return functional.linear(images, weight)

    return forward


def _frozen_steps(layers: list[nn.Module]) -> list[Forward]:
    steps: list[Forward] = []
    for layer in layers:
        match layer:
            case BinaryConv2d() | Int8Conv2d():
                steps.append(_frozen_convolution(layer, cast("Any", layer).quant_weight().value))
            case FloatConv2d():
                steps.append(_frozen_convolution(layer, layer.weight))
            case SignConv2d():
                steps.append(_frozen_convolution(layer, signs(layer.weight, layer.gradient)))
            case BinaryActivation() | PaperSign() if _ends_with_relu_and_norm(layers, layer):
                norm = cast("BatchNorm", layers[layers.index(layer) - 1])
                is_gated = isinstance(layer, BinaryActivation) or layer.gradient == "gate"
                del steps[-2:]
                steps.append(_norm_and_sign(norm, is_gated))
            case _:
                steps.append(layer)
    return steps


def _ends_with_relu_and_norm(layers: list[nn.Module], layer: nn.Module) -> bool:
    before = layers[max(0, layers.index(layer) - 2) : layers.index(layer)]
    return any(isinstance(a, nn.ReLU) and isinstance(b, BatchNorm) for a, b in pairwise(before))


def _frozen_convolution(layer: nn.Conv2d, values: Tensor) -> Forward:
    weight = values.detach().contiguous(memory_format=torch.channels_last)
    stride, padding = cast("tuple[int, int]", layer.stride), cast("tuple[int, int]", layer.padding)
    if layer.in_channels == 1:
        return lambda x: cast("Tensor", _GreyConvolution.apply(x, weight, stride, padding))
    return lambda x: functional.conv2d(x, weight, stride=stride, padding=padding)


def _norm_and_sign(norm: BatchNorm, is_gated: bool) -> Forward:
    scale, shift = (part.detach().reshape(-1, 1, 1) for part in norm.affine())
    return lambda x: cast("Tensor", _ReluNormSign.apply(x, scale, shift, is_gated))


class _ReluNormSign(torch.autograd.Function):
    """``sign(relu(x) * scale + shift)``; in the sign's place the hard tanh's gradient, or a clipped one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, is_gated: bool) -> Tensor:
        normal = x.clamp_min(0.0).mul_(scale).add_(shift)
        ctx.is_gated = is_gated
        ctx.save_for_backward(x, normal, scale)
        # The sum is never -0, so a copied sign is that of normal >= 0, and much faster than a choice.
        return torch.copysign(torch.ones(()), normal)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        x, normal, scale = ctx.saved_tensors
        if ctx.is_gated:
            inside = torch.ops.aten.hardtanh_backward(grads[0], normal, -1.0, 1.0)
        else:
            inside = grads[0].clamp(-1.0, 1.0)
        return torch.ops.aten.threshold_backward(inside.mul_(scale), x, 0.0), None, None, None


class _GreyConvolution(torch.autograd.Function):
    """A convolution of one channel; torch's own gradient of its input is ten times slower than a product."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.weight, ctx.stride, ctx.padding, ctx.size = weight, stride, padding, x.shape[2:]
        sums = functional.conv2d(x, weight, stride=stride, padding=padding)
        # One channel doesn't tell which order is meant; what follows is faster with the channels last.
        return sums.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        weight: Tensor = ctx.weight
        outputs = grads[0].permute(0, 2, 3, 1).flatten(1, 2)
        columns = outputs @ weight.flatten(1)
        image = functional.fold(
            columns.mT, ctx.size, weight.shape[2:], padding=ctx.padding, stride=ctx.stride
        )
        return image, None, None, None
