"""A convolution whose ±1 weights are drawn: anew for each batch in training, for each frame in eval mode.

What is learnt are the weights' means w in [-1, 1]: P(+1) = (w + 1) / 2. The hardware keeps them in steps of
2**-7, and so does the forward pass. In eval mode the draws are those of `export.draws`, which the
hardware's generator repeats bit for bit.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.draws import MEAN_EXPONENT, draw_weights
from export.onnxdraws import DRAW_DOMAIN, DRAW_LAYER, DRAW_OPERATOR

_LOWEST, _HIGHEST = -(1 << MEAN_EXPONENT), (1 << MEAN_EXPONENT) - 1
# Weights of this many frames at once, to bound memory [elements].
_CHUNK_ELEMENTS = 1 << 23


class StochasticConv2d(nn.Module):
    """Convolution without bias, square kernel, whose ±1 weights are drawn around learnt means.

    - In training, and with ``one_draw``, torch's generator draws one set of weights for the whole batch. The
      gradient passes the draw and the rounding of the means unchanged.
    - Else each image has weights of its own: image i of a batch is frame ``first_frame + i`` of the run with
      ``seed``, as `export.draws.draw_weights` says, its columns in the order kernel row, kernel column,
      channel.

    Attributes:
        draws_weights: Marks the module for tools that set the three attributes below.
        seed: The run's seed, below 2**32.
        first_frame: Frame index of a batch's first image.
        one_draw: Whether eval mode too draws once for a batch, from torch's generator.
        layer: Number of the layer in the generator's key.
        weight: Latent means, float32 ``(outputs, inputs, kernel, kernel)``.
    """

    draws_weights = True

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, layer: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.layer = kernel, stride, padding, layer
        self.seed = 0
        self.first_frame = 0
        self.one_draw = False
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        # Means near 0 drown in the draws' own noise, and hardly leave it: their gradients are as noisy.
        nn.init.uniform_(self.weight, -1.0, 1.0)

    def means(self) -> npt.NDArray[np.int8]:
        """Return the means in steps of 2**-7, int8 in the shape of `weight`."""
        return self._steps().detach().to(torch.int8).numpy()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve float32 ``(N, inputs, H, W)`` whose values are small integers; the result is exact."""
        if torch.onnx.is_in_onnx_export():
            weight = _drawn_in_onnx(self._steps() * 2.0**-MEAN_EXPONENT, self.layer)
        elif self.training or self.one_draw:
            weight = self._one_draw()
        else:
            return self._frames(x)
        return functional.conv2d(x, weight, stride=self.stride, padding=self.padding)

    def _steps(self) -> Tensor:
        """Return the means in steps of 2**-7, with the gradient of the line without rounding and clamping."""
        line = self.weight * 2.0**MEAN_EXPONENT
        # A latent mean of 1 becomes 127/128; a clamp's own gradient would hold it there for ever.
        return line + (line.round().clamp(_LOWEST, _HIGHEST) - line).detach()

    def _one_draw(self) -> Tensor:
        mean = self._steps() * 2.0**-MEAN_EXPONENT
        with torch.no_grad():
            drawn = torch.where(torch.rand_like(mean) < (mean + 1) / 2, 1.0, -1.0)
        return mean + (drawn - mean).detach()

    def _frames(self, x: Tensor) -> Tensor:
        """Multiply the windows of each image by that frame's weights."""
        side = self.padding
        padded = functional.pad(x, (side, side, side, side))
        windows = padded.unfold(2, self.kernel, self.stride).unfold(3, self.kernel, self.stride)
        count, _, height, width = windows.shape[:4]
        means = self.means().transpose(0, 2, 3, 1).reshape(len(self.weight), -1)
        vectors = windows.permute(0, 2, 3, 4, 5, 1).reshape(count, height * width, means.shape[1])
        step = max(1, _CHUNK_ELEMENTS // means.size)
        products = [
            vectors[start : start + step] @ self._weights(means, start, min(step, count - start)).mT
            for start in range(0, count, step)
        ]
        sums = torch.cat(products) if products else vectors.new_zeros(0, height * width, len(means))
        return sums.mT.reshape(count, len(means), height, width)

    def _weights(self, means: npt.NDArray[np.int8], start: int, count: int) -> Tensor:
        first = self.first_frame + start
        drawn = np.empty((count, *means.shape), np.float32)
        for index in range(count):
            drawn[index] = draw_weights(means, seed=self.seed, layer=self.layer, frame=first + index)
        return torch.from_numpy(drawn)


def set_frames(model: nn.Module, *, seed: int, first_frame: int) -> None:
    """Tell every layer with drawn weights which frames the next batch holds."""
    for part in model.modules():
        if isinstance(part, StochasticConv2d):
            part.seed, part.first_frame = seed, first_frame


@contextmanager
def one_draw(model: nn.Module) -> Generator[None]:
    """Let eval mode too draw once for a batch, from torch's generator, as training does."""
    parts = [part for part in model.modules() if isinstance(part, StochasticConv2d)]
    modes = [part.one_draw for part in parts]
    for part in parts:
        part.one_draw = True
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.one_draw = mode


class _DrawnInOnnx(torch.autograd.Function):
    """The means in a trace; `DRAW_OPERATOR` in the file that the trace becomes."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, layer: int) -> Tensor:
        return means.clone()

    @staticmethod
    def symbolic(g: Any, means: Any, layer: int) -> Any:
        """Return the ONNX node, of the tensor type that it reads."""
        node = g.op(f"{DRAW_DOMAIN}::{DRAW_OPERATOR}", means, layer_i=layer)
        return node.setType(means.type())


def _drawn_in_onnx(means: Tensor, layer: int) -> Tensor:
    if not torch.compiler.is_exporting():
        return cast("Tensor", _DrawnInOnnx.apply(means, layer))
    # torch's newer exporter looks into autograd functions and would leave nothing of this one.
    operator: Any = torch.onnx.ops.symbolic
    return operator(
        f"{DRAW_DOMAIN}::{DRAW_OPERATOR}",
        (means,),
        {DRAW_LAYER: layer},
        dtype=means.dtype,
        shape=means.shape,
        version=1,
    )
