"""The cheapest float network that computes a graph of ±1 layers exactly: one product and one sign a layer.

With an integer threshold T, ``x >= T`` is ``sign(x + 1/2 - T)`` and never meets zero; the half joins the
product's bias. That leaves float runtimes less work than the network as trained (BatchNorm, quantisers), so a
comparison against the twin flatters them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from export.errors import LoweringError
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding

FloatArray = npt.NDArray[np.float32]
_OPSET = 17
# What onnxruntime of every supported version reads.
_IR_VERSION = 8
_INPUT, _OUTPUT = "pixels", "logits"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatLayer:
    """``x @ weights + bias``, then the sign.

    Attributes:
        weights: float32 ``(MW, MH)``; None for ``x + bias``.
        bias: float32 ``(MH,)``, or ``(1,)`` for all.
        sign: Whether the sign follows.
    """

    weights: FloatArray | None
    bias: FloatArray
    sign: bool


def float_layers(graph: DataflowGraph) -> list[FloatLayer]:
    """Return a dense graph of ±1 streams as float layers on flattened uint8 values.

    Raises:
        LoweringError: The graph holds something else.
    """
    layers: list[FloatLayer] = []
    for node in graph.nodes:
        match node:
            case Flatten():
                continue
            case Thresholding() if node.out_type.is_bipolar and len(node.thresholds.steps) == 1:
                shift = 0.5 - node.thresholds.steps[:, 0]
                layers.append(FloatLayer(weights=None, bias=shift.astype(np.float32), sign=True))
            case Mvau() if node.out_type.is_bipolar and node.thresholds is not None:
                shift = np.broadcast_to(0.5 - node.thresholds.steps[:, 0].astype(np.float64), (node.mh,))
                layers.append(_dense(node, shift, sign=True))
            case Mvau() if node.thresholds is None and node.scale is None:
                bias = np.zeros(node.mh) if node.bias is None else node.bias.astype(np.float64)
                layers.append(_dense(node, bias, sign=False))
            case _:
                raise LoweringError(
                    f"{node.name} has no float twin", hint="dense layers with ±1 streams have"
                )
    return layers


def _dense(node: Mvau, bias: npt.NDArray[np.float64], *, sign: bool) -> FloatLayer:
    weights = np.ascontiguousarray(node.weights.T.astype(np.float32))
    return FloatLayer(weights=weights, bias=bias.astype(np.float32), sign=sign)


def onnx_twin(graph: DataflowGraph) -> onnx.ModelProto:
    """Return an ONNX model from float32 ``(N, pixels)`` in 0 to 255 to float32 logits ``(N, classes)``."""
    nodes: list[onnx.NodeProto] = []
    constants: list[TensorProto] = []
    value = _INPUT
    layers = float_layers(graph)
    for index, layer in enumerate(layers):
        names = [value, f"bias_{index}"]
        constants.append(numpy_helper.from_array(layer.bias, names[1]))
        if layer.weights is not None:
            names.insert(1, f"weights_{index}")
            constants.append(numpy_helper.from_array(layer.weights, names[1]))
        value = f"sum_{index}" if layer.sign or index < len(layers) - 1 else _OUTPUT
        nodes.append(helper.make_node("Gemm" if layer.weights is not None else "Add", names, [value]))
        if layer.sign:
            signed = f"sign_{index}" if index < len(layers) - 1 else _OUTPUT
            nodes.append(helper.make_node("Sign", [value], [signed]))
            value = signed
    pixels = int(np.prod(graph.input_shape))
    proto = helper.make_graph(
        nodes,
        "float_twin",
        [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, ["batch", pixels])],
        [helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, ["batch", graph.classes])],
        constants,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=_IR_VERSION)


class TorchTwin:
    """The same in torch, on float32 ``(N, pixels)`` in 0 to 255."""

    def __init__(self, graph: DataflowGraph) -> None:
        self._layers = [
            (
                None if layer.weights is None else torch.from_numpy(layer.weights),
                torch.from_numpy(layer.bias),
                layer.sign,
            )
            for layer in float_layers(graph)
        ]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return float32 logits ``(N, classes)``."""
        value = pixels
        for weights, bias, sign in self._layers:
            value = value + bias if weights is None else torch.addmm(bias, value, weights)
            if sign:
                value = value.sign_()
        return value
