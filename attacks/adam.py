"""Adam for a batch of images that have nothing to do with each other."""

from __future__ import annotations

import torch
from torch import Tensor

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


class Adam:
    """Kingma and Ba, Adam (ICLR 2015), algorithm 1; it works value by value.

    Args:
        like: Has the shape of what is moved, ``(N, ...)``.
        rate: Length of a step while the gradient keeps its sign.
    """

    def __init__(self, like: Tensor, rate: float) -> None:
        self._rate = rate
        self._mean, self._power = torch.zeros_like(like), torch.zeros_like(like)
        self._steps = torch.zeros((len(like), *(1,) * (like.ndim - 1)), dtype=torch.float64)

    def restart(self, rows: Tensor) -> None:
        """Forget what was with some of the images, int64 ``(M,)``: others take their places."""
        for state in (self._mean, self._power, self._steps):
            state[rows] = 0

    def moved(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Return the values after one step downhill."""
        self._steps += 1
        self._mean.lerp_(gradient, 1 - _FIRST)
        self._power.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        # mean / (1 - first^t) / (sqrt(power / (1 - second^t)) + tiny), with the numbers pulled together.
        unbiased = (1 - _SECOND**self._steps).sqrt()
        length = self._rate * unbiased / (1 - _FIRST**self._steps)
        size = self._power.sqrt().add_((_TINY * unbiased).to(values.dtype))
        return torch.addcdiv(values, self._mean * length.to(values.dtype), size, value=-1)
