"""What else computes a ±1 network: the emulator's peers, on one thread each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from torch import Tensor

from benchmarks.conv_twin import conv_onnx_twin
from benchmarks.float_twin import TorchTwin, onnx_twin
from export.graph import DataflowGraph, IntArray
from hw.qonnx_target import QonnxTarget
from hw.target import ImageArray
from quant_models.mlp import BinaryMlp

_FLOAT_BATCHES = (1, 16, 64, 256, 1024)
_CONV_BATCHES = (1, 4, 16, 64)
_QONNX_BATCH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another implementation of the network.

    Attributes:
        name: What it is called in the results.
        batches: Batch sizes to try.
        checked_images: How many images its logits are compared on.
        prepare: Takes uint8 images ``(batch, H, W, C)`` and returns the call to time: input conversion is not
            part of it, except for targets, which take uint8 themselves.
        logits: Computes integer logits of uint8 images, int64 ``(N, K)``.
    """

    name: str
    batches: tuple[int, ...]
    checked_images: int
    prepare: Callable[[ImageArray], Callable[[], Any]]
    logits: Callable[[ImageArray], IntArray]


def make_peers(model: BinaryMlp, path: Path, graph: DataflowGraph) -> list[Peer]:
    """Return all peers of a network, its QONNX file and its graph."""
    return [
        _onnxruntime(graph),
        _torch(graph),
        _brevitas(model),
        _qonnx(path, model.logit_exponent),
        _qonnx_target(path, graph),
    ]


def make_conv_peers(graph: DataflowGraph) -> list[Peer]:
    """Return onnxruntime on the float twin of a convolutional graph."""
    session = _session(conv_onnx_twin(graph))

    def prepare(images: ImageArray) -> Callable[[], Any]:
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2).astype(np.float32))
        feed = {session.get_inputs()[0].name: pixels}
        return lambda: session.run(None, feed)

    return [
        Peer(
            name="onnxruntime",
            batches=_CONV_BATCHES,
            checked_images=64,
            prepare=prepare,
            logits=lambda images: _integers(prepare(images)()[0]),
        )
    ]


def _integers(values: Any, exponent: int = 0) -> IntArray:
    scaled = np.ldexp(np.asarray(values, np.float64), exponent)
    integers = np.rint(scaled).astype(np.int64)
    if not np.array_equal(integers, scaled):
        raise ValueError("logits are not integers on their grid")
    return integers


def _flat(images: ImageArray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32)


def _unit_nchw(images: ImageArray) -> np.ndarray:
    return np.ascontiguousarray((images.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2))


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _onnxruntime(graph: DataflowGraph) -> Peer:
    session = _session(onnx_twin(graph))

    def prepare(images: ImageArray) -> Callable[[], Any]:
        feed = {session.get_inputs()[0].name: _flat(images)}
        return lambda: session.run(None, feed)

    return Peer(
        name="onnxruntime",
        batches=_FLOAT_BATCHES,
        checked_images=1000,
        prepare=prepare,
        logits=lambda images: _integers(prepare(images)()[0]),
    )


def _torch(graph: DataflowGraph) -> Peer:
    twin = TorchTwin(graph)

    def prepare(images: ImageArray) -> Callable[[], Any]:
        pixels = torch.from_numpy(_flat(images))
        return lambda: _without_gradients(twin, pixels)

    return Peer(
        name="torch",
        batches=_FLOAT_BATCHES,
        checked_images=1000,
        prepare=prepare,
        logits=lambda images: _integers(prepare(images)()),
    )


def _brevitas(model: BinaryMlp) -> Peer:
    def prepare(images: ImageArray) -> Callable[[], Any]:
        pixels = torch.from_numpy(_unit_nchw(images))
        return lambda: _without_gradients(model, pixels)

    return Peer(
        name="brevitas",
        batches=_FLOAT_BATCHES,
        checked_images=1000,
        prepare=prepare,
        logits=lambda images: _integers(prepare(images)(), model.logit_exponent),
    )


def _without_gradients(network: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(pixels)


def _qonnx(path: Path, exponent: int) -> Peer:
    """The package as it comes, on the exported file, whose batch size is 1."""
    wrapper = ModelWrapper(str(path)).transform(InferShapes())
    source, sink = wrapper.graph.input[0].name, wrapper.graph.output[0].name

    def prepare(images: ImageArray) -> Callable[[], Any]:
        pixels = _unit_nchw(images)
        return lambda: execute_onnx(wrapper, {source: pixels})[sink]

    return Peer(
        name="qonnx",
        batches=(1,),
        checked_images=20,
        prepare=prepare,
        logits=lambda images: np.concatenate(
            [_integers(prepare(image[None])(), exponent) for image in images]
        ),
    )


def _qonnx_target(path: Path, graph: DataflowGraph) -> Peer:
    target = QonnxTarget(path, graph)
    return Peer(
        name="qonnx-batched",
        batches=(_QONNX_BATCH,),
        checked_images=500,
        prepare=lambda images: lambda: target.infer(images),
        logits=lambda images: target.infer(images).logits,
    )
