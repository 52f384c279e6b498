"""What stands in for the derivative of the sign: a choice of straight-through estimators for any model.

A sign has no useful derivative, so a gradient through a ±1 network is a matter of convention. The model comes
with one; here it is exchanged from outside. Modules with a true attribute ``emits_activation`` whose output
is ±1 are the signs. Their argument is in units in which most of it lies in [-1, 1]: a module that counts in
other units offers a method ``margin`` that converts its input.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from attacks.inputs import require

# Slope of the tanh, from the first step to the last: from nearly a line to nearly a step.
_FLATTEST, _STEEPEST = 0.1, 10.0


class Estimator(StrEnum):
    """The derivative of sign(x).

    MODEL: the model's own. IDENTITY: 1. HARDTANH: 1 where ``|x| <= 1``, else 0 (Hubara et al., Binarized
    neural networks, NeurIPS 2016). TANH: that of a tanh that gets steeper from step to step (Qin et al.,
    IR-Net, CVPR 2020). CLIP: the gradient from above, clipped into [-1, 1], wherever x is (the released code
    of Galloway et al., ICLR 2018). BPDA: the gradient of the network whose signs all are tanh(x), taken where
    the real network's logits are (Athalye et al., Obfuscated gradients, ICML 2018).
    """

    MODEL = "model"
    IDENTITY = "identity"
    HARDTANH = "hardtanh"
    TANH = "tanh"
    CLIP = "clip"
    BPDA = "bpda"


class Estimation:
    """The estimator that is at work.

    Attributes:
        estimator: Which one.
        progress: Share of the attack that is done, from 0 to 1.
        smooth: Whether signs are tanh for now.
        replaced: Signs whose gradient was exchanged so far.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.progress = 0.0
        self.smooth = False
        self.replaced = 0

    @contextmanager
    def smoothed(self) -> Generator[None]:
        """Let signs be tanh."""
        self.smooth = True
        try:
            yield
        finally:
            self.smooth = False

    def replace(self, module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Forward hook of a sign: its output with another gradient, or None to leave it."""
        signs = _tensor(output)
        if not signs.requires_grad or not bool((signs.detach().abs() == 1).all()):
            return None
        self.replaced += 1
        values = _tensor(inputs[0])
        margins = module.margin(values) if hasattr(module, "margin") else values
        if self.smooth:
            return margins.tanh()
        replaced: Any = _Sign.apply(margins, signs.detach(), self)
        return replaced

    def check(self) -> None:
        """Raise `InputError` where no sign has let its gradient be exchanged."""
        require(
            self.estimator is Estimator.MODEL or self.replaced > 0,
            f"no sign of the model took the estimator {self.estimator}",
            hint=f"its signs must put out ±1 and a gradient; or use {Estimator.MODEL}",
        )

    def slope(self, margins: Tensor) -> Tensor:
        """Return the derivative at the signs' arguments, in the same shape."""
        if self.estimator is Estimator.HARDTANH:
            return (margins.abs() <= 1).to(margins.dtype)
        if self.estimator is Estimator.TANH:
            steepness = _FLATTEST * (_STEEPEST / _FLATTEST) ** self.progress
            return max(1.0, steepness) * (1 - (steepness * margins).tanh() ** 2)
        return torch.ones_like(margins)


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, margins: Tensor, signs: Tensor, estimation: Estimation) -> Tensor:
        ctx.save_for_backward(margins)
        ctx.estimation = estimation
        return signs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (margins,) = ctx.saved_tensors
        estimation: Estimation = ctx.estimation
        if estimation.estimator is Estimator.CLIP:
            return gradients[0].clamp(-1, 1), None, None
        return gradients[0] * estimation.slope(margins), None, None


@contextmanager
def estimating(model: nn.Module, estimator: Estimator) -> Generator[Estimation]:
    """Exchange the estimator of a model's signs; it gets its own back.

    Raises:
        InputError: The model has no module that says it is a sign.
    """
    estimation = Estimation(estimator)
    if estimator is Estimator.MODEL:
        yield estimation
        return
    parts = [part for part in model.modules() if getattr(part, "emits_activation", False)]
    require(
        bool(parts),
        f"the model has no sign function to give the estimator {estimator}",
        hint="give each sign function of the module an attribute emits_activation = True",
    )
    handles = [part.register_forward_hook(estimation.replace) for part in parts]
    try:
        yield estimation
    finally:
        for handle in handles:
            handle.remove()


def _tensor(value: Any) -> Tensor:
    # A Brevitas QuantTensor carries its tensor in .value.
    return value if isinstance(value, Tensor) else value.value
