"""Noise in front of hidden signs, in training only.

A sign of x plus uniform noise from [-a, a] is +1 with probability ``clip((x / a + 1) / 2, 0, 1)``: the
stochastic binarisation of Courbariaux et al. (2016), whose mean the straight-through gradient follows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from quant_models.layers import BatchNorm, BinaryActivation
from quant_models.papernet import PaperSign
from quant_models.trainconfig import NoiseKind


def add_sign_noise(model: nn.Module, amplitude: float, kind: NoiseKind) -> None:
    """Add noise to what hidden signs see while the model is in training mode.

    Only signs that follow BatchNorm get it, where 1 is about one standard deviation; the sign of a pixel
    doesn't. Draws from torch's global generator.

    Args:
        model: The network; a hook is put on its signs.
        amplitude: Half-width of the uniform noise, or standard deviation of the gaussian; 0 adds none.
        kind: Its distribution.
    """
    if amplitude == 0:
        return

    def noisy(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not layer.training:
            return None
        x: Tensor = given[0]
        noise = torch.randn_like(x) if kind == "gaussian" else torch.rand_like(x) * 2 - 1
        return (x + amplitude * noise,)

    for before, layer in pairwise(model.modules()):
        if isinstance(before, BatchNorm) and isinstance(layer, (BinaryActivation, PaperSign)):
            layer.register_forward_pre_hook(noisy)
