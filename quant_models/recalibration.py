"""BatchNorm's statistics anew, for the weights that training ended with.

The running averages of training are of weights that were still turning over; where a channel is silent for
most images they can be far from what the final weights give (Izmailov et al., 2018, section 3.2, do the same
for averaged weights).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quant_models.layers import BatchNorm
from quant_models.stochastic import one_draw

_BATCH = 1000


@torch.no_grad()
def recalibrate(model: nn.Module, pixels: Tensor) -> None:
    """Set the statistics of each BatchNorm to those of its inputs for some images.

    One layer after the other, so that each sees what the layers before it, in eval mode, give it.

    Args:
        model: The network, in eval mode.
        pixels: uint8 ``(N, C, H, W)`` with at least two images, of the training set.
    """
    for norm in [part for part in model.modules() if isinstance(part, BatchNorm)]:
        sums = _Sums()
        handle = norm.register_forward_pre_hook(sums.add)
        try:
            with one_draw(model):
                for begin in range(0, len(pixels), _BATCH):
                    model(pixels[begin : begin + _BATCH].float() / 255.0)
        finally:
            handle.remove()
        mean, variance = sums.moments()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


class _Sums:
    """Sums over all axes but the second, float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total = torch.zeros((), dtype=torch.float64)
        self.squares = torch.zeros((), dtype=torch.float64)

    def add(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Count one batch of a layer's inputs."""
        rows = inputs[0].transpose(0, 1).flatten(1).double()
        self.count += rows.shape[1]
        self.total = self.total + rows.sum(1)
        self.squares = self.squares + (rows**2).sum(1)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and unbiased variance, each ``(channels,)``."""
        mean = self.total / self.count
        variance = (self.squares - self.count * mean**2) / (self.count - 1)
        return mean, variance.clamp_min(0.0)
