"""Adam for a batch of images that have nothing to do with each other."""

from __future__ import annotations

import torch
from torch import Tensor

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


class Adam:
    """Kingma and Ba, Adam (ICLR 2015), algorithm 1; it works value by value.

    Args:
        like: Has the shape of what is moved.
        rate: Length of a step while the gradient keeps its sign.
    """

    def __init__(self, like: Tensor, rate: float) -> None:
        self._rate = rate
        self._mean, self._power = torch.zeros_like(like), torch.zeros_like(like)
        self._steps = 0

    def moved(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Return the values after one step downhill."""
        self._steps += 1
        self._mean.mul_(_FIRST).add_(gradient, alpha=1 - _FIRST)
        self._power.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        mean = self._mean / (1 - _FIRST**self._steps)
        power = self._power / (1 - _SECOND**self._steps)
        return values - self._rate * mean / (power.sqrt() + _TINY)
