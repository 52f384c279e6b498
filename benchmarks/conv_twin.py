"""The cheapest float network that computes a graph of convolutions exactly: one Conv and one sign a layer.

As in `benchmarks.float_twin`, ``x >= T`` is ``sign(x + 1/2 - T)``. Evenly spaced levels are a floor and a
clip. Layers are NCHW, as float runtimes like them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.errors import LoweringError
from export.graph import DataflowGraph, Flatten, FmPadding, Mvau, Pool, Swg, Thresholds

_OPSET = 17
# What onnxruntime of every supported version reads.
_IR_VERSION = 8
_INPUT = "pixels"


@dataclass(slots=True)
class _Writer:
    value: str = _INPUT
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    constants: list[TensorProto] = field(default_factory=list[TensorProto])

    def add(self, operator: str, *constants: npt.ArrayLike, **attributes: Any) -> None:
        names = [self.value]
        for constant in constants:
            names.append(f"constant_{len(self.constants)}")
            self.constants.append(numpy_helper.from_array(np.asarray(constant, np.float32), names[-1]))
        self.value = f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [self.value], **attributes))


def conv_onnx_twin(graph: DataflowGraph) -> onnx.ModelProto:
    """Return an ONNX model from float32 ``(N, C, H, W)`` in 0 to 255 to float32 logits ``(N, classes)``.

    Raises:
        LoweringError: The graph holds something that has no twin.
    """
    writer = _Writer()
    pads, swg, flattened = (0, 0, 0, 0), None, None
    for node in graph.nodes:
        match node:
            case FmPadding() if node.value == 0:
                pads = node.pads
            case Swg():
                swg = node
            case Pool():
                writer.add("MaxPool", kernel_shape=node.kernel, strides=node.stride)
            case Flatten():
                flattened = graph.shapes[node.input]
                writer.add("Flatten")
            case Mvau():
                _product(writer, node, swg, pads, flattened)
                pads, swg, flattened = (0, 0, 0, 0), None, None
            case _:
                raise LoweringError(
                    f"{node.name} has no float twin", hint="convolutions, pools and dense layers have"
                )
    height, width, channels = graph.input_shape
    proto = helper.make_graph(
        writer.nodes,
        "conv_twin",
        [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, ["batch", channels, height, width])],
        [helper.make_tensor_value_info(writer.value, TensorProto.FLOAT, ["batch", graph.classes])],
        writer.constants,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=_IR_VERSION)


def _product(
    writer: _Writer,
    node: Mvau,
    swg: Swg | None,
    pads: tuple[int, int, int, int],
    flattened: tuple[int, ...] | None,
) -> None:
    scale, shift = _levels(node.mh, node.thresholds)
    weights = node.weights.astype(np.float32)
    if swg is not None:
        channels = node.mw // prod(swg.kernel)
        kernels = weights.reshape(node.mh, *swg.kernel, channels).transpose(0, 3, 1, 2)
        writer.add("Conv", kernels, shift, strides=swg.stride, pads=pads)
    else:
        if flattened is not None and len(flattened) == 3:  # the graph flattens NHWC, the twin NCHW
            weights = weights.reshape(node.mh, *flattened).transpose(0, 3, 1, 2).reshape(node.mh, -1)
        writer.add("Gemm", weights.T, shift)
    if node.thresholds is None:
        return
    if node.out_type.is_bipolar:
        writer.add("Sign")
        return
    writer.add("Div", [scale])
    writer.add("Floor")
    writer.add("Clip", np.float32(0), np.float32(node.thresholds.steps.shape[1]))


def _levels(neurons: int, thresholds: Thresholds | None) -> tuple[int, npt.NDArray[np.floating]]:
    """Return the distance of levels, and what is added to the sum before the sign or the division."""
    if thresholds is None:
        return 1, np.zeros(neurons)
    steps = thresholds.steps
    if thresholds.out_type.is_bipolar:
        return 1, np.broadcast_to(0.5 - steps[:, 0], (neurons,))
    distances = np.unique(np.diff(steps, axis=1))
    if len(distances) != 1 or thresholds.out_bias != 0:
        raise LoweringError("the levels are not evenly spaced", hint="only a quantiser's levels have a twin")
    return int(distances[0]), np.broadcast_to(distances[0] - steps[:, 0], (neurons,))
