"""A differentiable torch module that computes a dataflow graph exactly, and fast.

It serves two ends. A network that comes as a QONNX file has no trained module to take gradients from; its
integer graph does for the forward pass, and straight-through gradients do for the backward one. And a trained
module requantises its weights in every call and normalises in floats: its twin needs a fraction of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.surrogate_build import layers_of, logit_exponent
from attacks.surrogate_layers import Thresholds
from export.graph import INPUT_TENSOR, DataflowGraph, Swg

_CACHE_BYTES = 1 << 22
_FEWEST_IMAGES, _MOST_IMAGES = 16, 128

HalfWidths = Mapping[str, "np.ndarray[Any, Any]"]


class Surrogate(nn.Module):
    """Takes float32 ``(N, C, H, W)`` in [0, 1] and returns logits ``(N, K)``, as a trained model does.

    The integer logits are the float ones times ``2**logit_exponent``, a power that brings them to order 1.
    A layer whose weights are drawn is drawn as `attacks.drawing` says, frame by frame or once for a batch.
    A threshold's gradient is that of a ramp around it: over the whole range at the input, so that every pixel
    has a direction, and over ``gate`` standard deviations of the accumulator in hidden layers.

    Args:
        graph: The network.
        gate: Half-width of the ramp, in standard deviations of the accumulator for random inputs.
        half_widths: Half-widths of hidden layers' ramps in units of the accumulator, a number for each
            channel, by the node's name; they go before ``gate``.

    Attributes:
        graph: The network.
        logit_exponent: See above.
        batch_size: Images in one call with which it is fastest.

    Raises:
        InputError: A node that torch can't compute exactly in float32.
    """

    channels_last = True

    def __init__(
        self,
        graph: DataflowGraph,
        *,
        gate: float = 1.0,
        half_widths: HalfWidths | None = None,
    ) -> None:
        super().__init__()
        placed = layers_of(graph, gate=gate, half_widths=half_widths or {})
        self.graph = graph
        self._names = [(place.output, place.inputs) for place in placed]
        self._layers = nn.ModuleList(place.layer for place in placed)
        readers = [place.layer for place in placed if INPUT_TENSOR in place.inputs]
        # A list, because a module would hold the layer twice.
        self._entry = [layer for layer in readers if len(readers) == 1 and isinstance(layer, Thresholds)]
        self._grid = _Grid()
        self._signs = [layer.emission for layer in self._layers if isinstance(layer, Thresholds)]
        self.logit_exponent = logit_exponent(graph)
        self.batch_size = _batch_size(graph)

    def forward(self, x: Tensor) -> Tensor:
        """Compute float logits."""
        if self._is_watched():
            pixels: Any = _Pixels.apply(x, self._grid)
            return self._watched(pixels)
        if torch.is_grad_enabled() and x.requires_grad:
            logits: Any = _Whole.apply(x, self)
            return logits
        with torch.no_grad():
            return self._run(self._grid(x * 255))[0]

    def differentiate(
        self, position: Tensor, rises: Callable[[Tensor], Sequence[Tensor]]
    ) -> tuple[Tensor, list[Tensor]] | None:
        """Return logits and gradients without torch's engine.

        Args:
            position: float32 ``(N, C, H, W)``, values from 0 to 255.
            rises: Gives the gradients of one or more objectives at logits ``(N, K)``.

        Returns:
            The logits, and the objectives' gradients with respect to values in [0, 1]; None where a hook on a
            sign wants to take part, so that the engine is needed.
        """
        if self._is_watched():
            return None
        with torch.no_grad():
            logits, memory = self._run(self._grid(position))
            return logits, [self._back(rise, memory).mul_(255) for rise in rises(logits)]

    def nearest_alike(self, position: Tensor, original: Tensor) -> Tensor:
        """Return images that the network can't tell from those at ``position``, as near as can be.

        A network that thresholds its pixels sees which thresholds each has reached, nothing else. Of the grey
        levels that reach the same ones, the nearest to the original's is taken.

        Args:
            position: Whole numbers from 0 to 255, float32 ``(N, C, H, W)``.
            original: The same shape.
        """
        return self._entry[0].nearest_alike(position, original) if self._entry else position

    @property
    def knows_alike(self) -> bool:
        """Whether the network thresholds its pixels, so that `nearest_alike` makes a difference."""
        return bool(self._entry)

    def _is_watched(self) -> bool:
        return any(sign._forward_hooks for sign in self._signs)

    def _watched(self, pixels: Tensor) -> Tensor:
        """Return the logits by torch's engine, layer by layer."""
        streams = {INPUT_TENSOR: pixels}
        for (output, inputs), layer in zip(self._names, self._layers, strict=True):
            streams[output] = layer(*(streams[name] for name in inputs))
        return streams[self._names[-1][0]]

    def _run(self, pixels: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the logits, and what each layer keeps for the way back."""
        streams = {INPUT_TENSOR: pixels}
        memory: list[Any] = []
        for (output, inputs), layer in zip(self._names, self._layers, strict=True):
            run: Any = layer.run
            streams[output], kept = run(*(streams[name] for name in inputs))
            memory.append(kept)
        return streams[self._names[-1][0]], memory

    def _back(self, gradient: Tensor, memory: list[Any]) -> Tensor:
        """Return the gradient with respect to the pixels."""
        gradients = {self._names[-1][0]: gradient}
        for (output, inputs), layer, kept in zip(
            reversed(self._names), reversed(list(self._layers)), reversed(memory), strict=True
        ):
            back: Any = layer.back
            # A stream that nobody reads has none.
            if output in gradients:
                for name, part in zip(inputs, back(gradients.pop(output), kept), strict=True):
                    gradients[name] = gradients[name] + part if name in gradients else part
        return gradients[INPUT_TENSOR]


def _batch_size(graph: DataflowGraph) -> int:
    """Return how many images' widest feature maps stay in a processor's cache, a power of two."""
    widest = 4 * max(
        math.prod(shape) for name, shape in graph.shapes.items() if not _is_gathered(graph, name)
    )
    return min(_MOST_IMAGES, max(_FEWEST_IMAGES, 1 << max(0, (_CACHE_BYTES // widest).bit_length() - 1)))


def _is_gathered(graph: DataflowGraph, name: str) -> bool:
    """Whether a stream holds windows, which a convolution doesn't keep."""
    return any(isinstance(node, Swg) and node.name == name for node in graph.nodes)


class _Whole(torch.autograd.Function):
    """The network in [0, 1] for torch's engine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate) -> Tensor:
        logits, ctx.memory = surrogate._run(surrogate._grid(x * 255))
        ctx.surrogate = surrogate
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.surrogate._back(gradients[0], ctx.memory) * 255, None


class _Pixels(torch.autograd.Function):
    """Pixels in [0, 1] on the grid from 0 to 255, with the gradient of the line."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: _Grid) -> Tensor:
        return grid(x * 255)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * 255, None


class _Grid(nn.Module):
    """The 8-bit grid at the input; `attacks.landscape.unrounded` sets ``rounds``."""

    snaps_to_grid = True

    def __init__(self) -> None:
        super().__init__()
        self.rounds = True

    def forward(self, pixels: Tensor) -> Tensor:
        """Round to whole numbers."""
        return pixels.round() if self.rounds else pixels
