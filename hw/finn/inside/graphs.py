"""A QONNX file as FINN wants it, and the integer logits of what FINN makes of it."""
# This runs in FINN's environment, whose packages the type checker does not see.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.insert_topk import InsertTopK

_PIXEL = np.float32(1 / 255)
_CHOOSERS = ("TopK", "LabelSelect")
_PASSING = ("Reshape", "Flatten", "Transpose", "StreamingFIFO", "StreamingDataWidthConverter")
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
_ONE_BIT = ("BIPOLAR", "BINARY")
_CONV_DEFAULTS = {"group": 1, "dilations": [1, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
_PADDING = ("FMPadding", "FMPadding_rtl")


@dataclass
class Stage:
    """A graph of FINN that can be executed.

    Attributes:
        model: The graph, or the part of it that becomes hardware.
        parent: What stands around that part, or None.
    """

    model: ModelWrapper
    parent: ModelWrapper | None = None


def with_integer_input(model: ModelWrapper) -> ModelWrapper:
    """Return the model with 8-bit pixels as its input and the index of the largest logit as its output.

    The file takes pixels divided by 255. Where it first rounds them to that grid, the rounding goes.
    """
    graph = model.graph
    name = graph.input[0].name
    grid = _chain(model, name, ("Mul", "Round", "Mul"))
    if grid:
        first, middle, last = grid
        last.input[list(last.input).index(middle.output[0])] = name
        graph.node.remove(first)
        graph.node.remove(middle)
    else:
        _insert_division(model, name)
    _spell_out(model)
    _align_channels(model)
    model.set_tensor_datatype(name, DataType["UINT8"])
    return model.transform(InsertTopK(k=1))


def _spell_out(model: ModelWrapper) -> None:
    """Write ONNX's default attributes of convolutions, which FINN takes to be there."""
    for node in model.graph.node:
        present = {attribute.name for attribute in node.attribute}
        for attribute, value in _CONV_DEFAULTS.items():
            if node.op_type == "Conv" and attribute not in present:
                node.attribute.append(helper.make_attribute(attribute, value))


def _align_channels(model: ModelWrapper) -> None:
    """Write factors and offsets of channels as (1, C, 1, 1): of (C, 1, 1) FINN takes the last for channels.

    It would not absorb them into the thresholds then, and make floating-point hardware of them.
    """
    for node in model.graph.node:
        for name in node.input if node.op_type in _ELEMENTWISE else ():
            value = model.get_initializer(name)
            if isinstance(value, np.ndarray) and value.ndim == 3 and value.shape[1:] == (1, 1):
                model.set_initializer(name, value[None])


def _chain(model: ModelWrapper, name: str, operators: tuple[str, ...]) -> list[NodeProto]:
    found: list[NodeProto] = []
    for operator in operators:
        consumers = model.find_consumers(name) or []
        if len(consumers) != 1 or consumers[0].op_type != operator:
            return []
        found.append(consumers[0])
        name = consumers[0].output[0]
    return found


def _insert_division(model: ModelWrapper, name: str) -> None:
    scaled, factor = f"{name}_scaled", f"{name}_factor"
    for node in model.find_consumers(name) or []:
        for index, tensor in enumerate(node.input):
            if tensor == name:
                node.input[index] = scaled
    model.set_initializer(factor, np.asarray(_PIXEL))
    model.graph.node.insert(0, helper.make_node("Mul", [name, factor], [scaled]))
    model.set_tensor_shape(scaled, list(model.get_tensor_shape(name) or ()))


def logits_of(stage: Stage, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Execute images one by one.

    Args:
        stage: The graph.
        images: uint8 ``(N, H, W, C)``.

    Returns:
        Logits as they stand before the last layer, float64 ``(N, K)``, and FINN's labels, int64 ``(N,)``.
    """
    tensor, scale, offset = logits_tensor(stage.model)
    logits, labels = [], []
    for image in images:
        context = _execute(stage, image)
        logits.append(context[tensor].reshape(-1).astype(np.float64) * scale + offset)
        labels.append(int(context[stage.model.graph.output[0].name].reshape(-1)[0]))
    return np.array(logits).reshape(len(images), -1), np.array(labels, np.int64)


def _execute(stage: Stage, image: np.ndarray) -> dict[str, Any]:
    outer = stage.model if stage.parent is None else stage.parent
    name = outer.get_first_global_in()
    value = image.transpose(2, 0, 1).astype(np.float32).reshape(outer.get_tensor_shape(name))
    if stage.parent is None:
        return execute_onnx(stage.model, {name: value}, return_full_exec_context=True)
    nodes = list(stage.parent.graph.node)
    place = next(i for i, node in enumerate(nodes) if node.op_type == "StreamingDataflowPartition")
    inner = stage.model.get_first_global_in()
    if place:
        before = execute_onnx(stage.parent, {name: value}, True, end_node=nodes[place - 1])
        value = before[nodes[place].input[0]]
    value = value.reshape(stage.model.get_tensor_shape(inner))
    return execute_onnx(stage.model, {inner: value}, return_full_exec_context=True)


def logits_tensor(model: ModelWrapper) -> tuple[str, float, float]:
    """Return the tensor with the logits, and factor and offset that make counts of agreements sums of ±1."""
    chooser = next(node for node in model.graph.node if node.op_type in _CHOOSERS)
    tensor = chooser.input[0]
    producer = model.find_producer(tensor)
    while producer is not None and producer.op_type in _PASSING:
        producer = model.find_producer(producer.input[0])
    if producer is not None and _counts(producer):
        weights: Any = model.get_initializer(producer.input[1])
        return tensor, 2.0, -float(weights.shape[0])
    return tensor, 1.0, 0.0


def _counts(node: NodeProto) -> bool:
    if node.op_type == "XnorPopcountMatMul":
        return True
    return node.op_type in ("MVAU", "XnorMVAU") and getCustomOp(node).get_nodeattr("binaryXnorMode") == 1


def one_bit_padding(model: ModelWrapper) -> list[str]:
    """Names of the nodes that pad ±1 activations with zeros, which are the bits of -1."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type in _PADDING and model.get_tensor_datatype(node.input[0]).name in _ONE_BIT
    ]
