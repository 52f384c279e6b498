"""The trained torch module as a target: its float logits as the integers that they are."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.drawing import set_frames
from attacks.evaluation import evaluating
from export.draws import check_seed
from export.errors import CheckFailedError, InputError
from export.graph import DataflowGraph, IntArray, Mvau, Node, Pool, Thresholding
from hw.target import ImageArray, Inference, TargetKind, check_images


class TorchTarget:
    """Runs a module on uint8 images.

    The module takes float32 ``(N, C, H, W)`` in [0, 1]. Its attribute ``logit_exponent`` says that the
    integer logits are the float ones times ``2**logit_exponent``. Modules in it with a true attribute
    ``emits_activation`` are the sign functions: the i-th that is called computes the i-th node with
    thresholds of the graph, and their outputs, ±1, are what `trace` shows. They come as ``(N, C, H, W)``,
    or as ``(N, H, W, C)`` from a module whose attribute ``channels_last`` is true.

    Args:
        module: The module; it runs in evaluation mode and gets its own mode back.
        graph: What lowering made of it: shapes and names.
        batch_size: Images in one call, to bound memory.
        seed: Of drawn weights, below 2**32; see `attacks.drawing`.

    Raises:
        InputError: The module doesn't say its ``logit_exponent``, or the seed is out of range.
    """

    name = "torch"
    kind = TargetKind.SIMULATION

    def __init__(
        self, module: nn.Module, graph: DataflowGraph, *, batch_size: int = 512, seed: int = 0
    ) -> None:
        check_seed(seed)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        exponent = getattr(module, "logit_exponent", None)
        if not isinstance(exponent, int):
            raise InputError(
                f"{type(module).__name__} has no integer logit_exponent",
                hint="the module must say which power of two makes its logits integers",
            )
        self.module = module
        self.graph = graph
        self.batch_size = batch_size
        self.seed = seed
        self._exponent = exponent

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``.

        Raises:
            CheckFailedError: A logit is not an integer times ``2**-logit_exponent``.
        """
        pixels = check_images(images, self.graph)
        logits = [np.zeros((0, self.graph.classes), np.int64)]
        with evaluating(self.module), torch.no_grad():
            for begin in range(0, len(pixels), self.batch_size):
                logits.append(self._run(pixels[begin : begin + self.batch_size], first_frame + begin))
        return Inference(logits=np.concatenate(logits))

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return the outputs of all nodes with thresholds and of the last one, int64 ``(N, ...)``, by name.

        Where the module pools before its sign, the output is that of the pool behind the node. A node whose
        channels lowering inverted, which has no tensor in the file, is left out.

        Raises:
            InputError: The module has another number of sign functions than the graph has thresholds.
            CheckFailedError: An activation is not ±1, or its shape isn't the node's.
        """
        pixels = check_images(images, self.graph)
        nodes = [
            n for n in self.graph.nodes if isinstance(n, Mvau | Thresholding) and n.thresholds is not None
        ]
        parts: list[dict[str, IntArray]] = []
        with evaluating(self.module), torch.no_grad(), self._recording() as outputs:
            for begin in range(0, max(len(pixels), 1), self.batch_size):
                outputs.clear()
                logits = self._run(pixels[begin : begin + self.batch_size], first_frame + begin)
                if len(outputs) != len(nodes):
                    raise InputError(
                        f"{type(self.module).__name__} called {len(outputs)} activations, "
                        f"the graph has {len(nodes)} nodes with thresholds",
                        hint="give each sign function of the module an attribute emits_activation = True",
                    )
                pairs = [p for p in zip(nodes, outputs, strict=True) if self._is_comparable(p[0])]
                part = dict(self._stream(node, output) for node, output in pairs)
                parts.append(part | {self.graph.nodes[-1].name: logits})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run(self, images: ImageArray, first_frame: int) -> IntArray:
        set_frames(self.module, seed=self.seed, first_frame=first_frame)
        # astype copies: torch warns of arrays that it may not write to.
        pixels = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).contiguous() / 255
        logits = self.module(pixels)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != (len(images), self.graph.classes):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise CheckFailedError(
                f"the torch module returned {found}, the graph has {self.graph.classes} logits"
            )
        scaled = logits.double().numpy() * 2.0**self._exponent
        # NaN and infinity are no integers either: they differ from their own rounding, or have no int64.
        exact = np.isfinite(scaled) & (np.rint(scaled) == scaled) & (np.abs(scaled) < 2.0**53)
        if not exact.all():
            image, channel = (int(index) for index in np.argwhere(~exact)[0])
            raise CheckFailedError(
                f"logit {channel} of the torch module is {logits[image, channel].item()!r}, "
                f"no integer times 2**-{self._exponent}",
                hint="every float sum of the module must be exact",
                target=self.name,
                channel=channel,
            )
        return scaled.astype(np.int64)

    @contextmanager
    def _recording(self) -> Generator[list[Tensor]]:
        """Collect the outputs of the module's sign functions in the order of their calls."""
        outputs: list[Tensor] = []

        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # A Brevitas QuantTensor carries its tensor in .value.
            outputs.append(output if isinstance(output, Tensor) else output.value)

        signs = [part for part in self.module.modules() if getattr(part, "emits_activation", False)]
        handles = [part.register_forward_hook(record) for part in signs]
        try:
            yield outputs
        finally:
            for handle in handles:
                handle.remove()

    def _is_comparable(self, node: Mvau | Thresholding) -> bool:
        """Whether a node's integers are the module's; of a graph that knows no tensors all are."""
        is_surrogate = getattr(self.module, "channels_last", False)
        return is_surrogate or node.source is not None or all(n.source is None for n in self.graph.nodes)

    def _stream(self, node: Mvau | Thresholding, output: Tensor) -> tuple[str, IntArray]:
        """Return a stream's name, and its values in the graph's order (NHWC), integers on their own grid."""
        height_first = output.ndim == 4 and not getattr(self.module, "channels_last", False)
        values = (output.permute(0, 2, 3, 1) if height_first else output).double().numpy()
        if not node.out_type.is_bipolar and node.source is not None:
            values = np.ldexp(values, node.source.exponent)
        integers = values.astype(np.int64)
        for name in self._places(node):
            shape = self.graph.shapes[name]
            # One pixel has the same order flat.
            is_pixel = values.ndim == 2 and shape == (1, 1, values.shape[1])
            if (is_pixel or values.shape[1:] == shape) and np.array_equal(integers, values):
                return name, integers.reshape(-1, *shape)
        raise CheckFailedError(
            f"the torch module's activation for {node.name} has shape {values.shape[1:]} "
            f"where the graph has {self.graph.shapes[node.name]}, or values that are no integers",
            node=node.name,
        )

    def _places(self, node: Node) -> list[str]:
        """Return the names of a node and of the pools that follow it."""
        names = [node.name]
        while len(readers := self.graph.readers(names[-1])) == 1 and isinstance(readers[0], Pool):
            names.append(readers[0].name)
        return names
