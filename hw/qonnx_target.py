"""The exported file itself, executed node by node by the qonnx package."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.errors import InputError, ToolError
from export.graph import DataflowGraph, IntArray, Node, Source
from hw.qonnx_executor import QonnxExecutor, Tensors, open_executor
from hw.target import ImageArray, Inference, TargetKind, check_images

_BATCH = 128
_PROBES = 2
_HINT = "give the file that the graph was lowered from"


class QonnxTarget:
    """Executes a QONNX file and reads its tensors as the graph's integers.

    Images go through in batches where the file's operators give the same for another batch size than their
    own, which is tried on the first images; else one by one.

    Args:
        model_path: The QONNX file that ``graph`` was lowered from.
        graph: The lowered network; each node's `Source` says where its integers stand in the file.

    Raises:
        InputError: The file can't be read, is not what ``graph`` came from, or draws weights.
        ToolError: The qonnx package can't execute it.
    """

    name = "qonnx"
    kind = TargetKind.SIMULATION

    def __init__(self, model_path: Path, graph: DataflowGraph) -> None:
        if drawn := [node.name for node in graph.mvaus if node.draw is not None]:
            raise InputError(
                f"the weights of {drawn[0]} are drawn for each frame, which the qonnx package can't do",
                hint="leave qonnx out of the targets",
                node=drawn[0],
            )
        self.graph = graph
        self._path = model_path
        self._single = open_executor(model_path)
        self._batched: QonnxExecutor | None = None
        self._batch_tried = False
        self._tensors = [node.source.tensor for node in graph.nodes if node.source is not None]
        if prod(self._single.frame) != prod(graph.input_shape):
            raise InputError(
                f"{model_path} takes images of shape {self._single.frame}, the graph {graph.input_shape}",
                hint=_HINT,
            )

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``.

        Raises:
            InputError: The file's logits are not the graph's integers.
            ToolError: The qonnx package failed.
        """
        last = self.graph.nodes[-1]
        if last.source is None:
            raise InputError(
                f"no tensor of {self._path} holds the integer logits of {last.name}",
                hint="give weights and logits power-of-two scales, and this target can read them",
            )
        return Inference(logits=self._read(images, [(last, last.source)])[last.name])

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return the outputs, int64 ``(N, ...)``, of the nodes whose integers stand in the file."""
        return self._read(
            images, [(node, node.source) for node in self.graph.nodes if node.source is not None]
        )

    def _read(self, images: ImageArray, wanted: list[tuple[Node, Source]]) -> dict[str, IntArray]:
        pieces: dict[str, list[IntArray]] = {
            node.name: [np.zeros((0, *self.graph.shapes[node.name]), np.int64)] for node, _ in wanted
        }
        for tensors in self._run(check_images(images, self.graph)):
            for node, source in wanted:
                pieces[node.name].append(self._integers(tensors, node, source))
        return {name: np.concatenate(parts) for name, parts in pieces.items()}

    def _run(self, images: ImageArray) -> Iterator[Tensors]:
        """Yield the named tensors of consecutive groups of images, each ``(group, elements)``."""
        pixels = images.astype(np.float32) / np.float32(255)
        floats = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(-1, *self._single.frame)
        executor = self._executor(floats)
        for start in range(0, len(floats), executor.batch):
            yield self._named(executor, floats[start : start + executor.batch])

    def _executor(self, floats: npt.NDArray[np.float32]) -> QonnxExecutor:
        if len(floats) < _PROBES:
            return self._single
        if not self._batch_tried:
            self._batch_tried = True
            self._batched = self._try_batch(floats[:_PROBES])
        return self._batched or self._single

    def _try_batch(self, floats: npt.NDArray[np.float32]) -> QonnxExecutor | None:
        """Return the executor for batches, or None where it fails or gives other tensors."""
        try:
            batched = self._single.with_batch(_BATCH)
            together = self._named(batched, floats)
            for index in range(len(floats)):
                alone = self._named(self._single, floats[index : index + 1])
                if any(not np.array_equal(alone[name][0], together[name][index]) for name in self._tensors):
                    return None
        except (InputError, ToolError):
            return None
        return batched

    def _named(self, executor: QonnxExecutor, floats: npt.NDArray[np.float32]) -> Tensors:
        padded = np.zeros((executor.batch, *executor.frame), np.float32)
        padded[: len(floats)] = floats
        tensors = executor.run(padded)
        for name in self._tensors:
            if name not in tensors or tensors[name].size % executor.batch:
                raise InputError(f"{self._path} has no tensor {name!r} that depends on the image", hint=_HINT)
        return {name: tensors[name].reshape(executor.batch, -1)[: len(floats)] for name in self._tensors}

    def _integers(self, tensors: Tensors, node: Node, source: Source) -> IntArray:
        values = np.ldexp(tensors[source.tensor].astype(np.float64), source.exponent)
        shape = self.graph.shapes[node.name]
        low, high = node.out_type.minimum, node.out_type.maximum
        valid = (values == np.rint(values)) & (values >= low) & (values <= high)
        if node.out_type.is_bipolar:
            valid &= values != 0
        if values.shape[1] != prod(shape) or not valid.all():
            raise InputError(
                f"tensor {source.tensor!r} of {self._path} does not hold {node.name}'s {node.out_type}",
                hint=_HINT,
                node=node.name,
            )
        integers = values.astype(np.int64)
        if len(shape) == 3:
            height, width, channels = shape
            return integers.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        return integers.reshape(-1, *shape)
