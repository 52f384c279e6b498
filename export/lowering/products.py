"""What an ONNX node adds to a chain's steps: elementwise operations, and matrix products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.lowering import attributes
from export.lowering.operations import FloatArray, Operation, add, multiply
from export.lowering.refusal import refuse
from export.lowering.steps import Activation, LinearStep, PointwiseStep, Step
from export.onnxfile import OnnxNode
from export.onnxtensor import Array


def append_operations(
    node: OnnxNode, activation: Activation, operations: tuple[Operation, ...], tensor: str | None
) -> Activation:
    """Append elementwise operations; ``tensor`` holds the result of the last one."""
    steps: list[Step] = list(activation.steps)
    for index, operation in enumerate(operations):
        parameters = tuple(_in_stream_order(node, activation, value) for value in operation.parameters)
        named = tensor if index == len(operations) - 1 and activation.is_plain else None
        bound = replace(operation, parameters=parameters)
        steps.append(PointwiseStep(node=(node.name, node.op_type), tensor=named, operation=bound))
    return replace(activation, steps=tuple(steps))


def _in_stream_order(node: OnnxNode, activation: Activation, value: FloatArray) -> FloatArray:
    shape = activation.positions.shape
    if value.size == 1 and value.ndim <= len(shape):
        return value.reshape(())
    try:
        spread = np.broadcast_to(value, shape)
    except ValueError as error:
        text = "x".join(map(str, value.shape))
        raise refuse(node, f"has a constant of shape {text} that does not fit the activation") from error
    ordered = np.empty(spread.size, np.float32)
    ordered[activation.positions.reshape(-1)] = spread.reshape(-1)
    return ordered


def multiply_by_weights(
    node: OnnxNode, activation: Activation, arguments: list[Array | None], position: int
) -> Activation:
    """Apply MatMul or Gemm with constant weights.

    Raises:
        LoweringError: The weights are no constants, or don't fit the activation.
    """
    if position != 0 or len(node.inputs) < 2 or arguments[1] is None:
        raise refuse(
            node, "does not multiply an activation by constant weights", hint="put the weights second"
        )
    weights, positions = arguments[1], activation.positions
    gemm = node.op_type == "Gemm"
    if gemm and attributes.integer(node, "transA", 0):
        positions = positions.T
    if gemm and attributes.integer(node, "transB", 0):
        weights = weights.T
    fan_in = positions.shape[-1] if positions.ndim else 0
    if weights.dtype != np.float32 or weights.ndim != 2 or weights.size == 0 or weights.shape[0] != fan_in:
        shape = "x".join(map(str, weights.shape))
        raise refuse(node, f"has {weights.dtype} weights of shape {shape} for {fan_in} inputs")
    if positions.size != fan_in or (gemm and positions.ndim != 2):
        shape = "x".join(map(str, positions.shape))
        raise refuse(
            node, f"multiplies an activation of shape {shape}", hint="flatten it to (N, features) before"
        )
    columns = np.empty((weights.shape[1], fan_in), np.float32)
    columns[:, positions.reshape(-1)] = weights.T
    neurons = np.arange(weights.shape[1], dtype=np.int64)
    extra = _gemm_extra(node, arguments) if gemm else ()
    step = LinearStep(
        node=(node.name, node.op_type), tensor=None if extra else node.outputs[0], weights=columns
    )
    product = Activation(
        positions=neurons.reshape(*positions.shape[:-1], -1), plain=neurons, steps=(*activation.steps, step)
    )
    return append_operations(node, product, extra, node.outputs[0])


def _gemm_extra(node: OnnxNode, arguments: list[Array | None]) -> tuple[Operation, ...]:
    """Return what Gemm does after the product: times alpha, plus beta times the third input."""
    extra: list[Operation] = []
    alpha = np.asarray(attributes.real(node, "alpha", 1.0), np.float32)
    beta = np.float32(attributes.real(node, "beta", 1.0))
    if alpha != 1:
        extra.append(Operation(function=multiply, parameters=(alpha,)))
    bias = arguments[2] if len(arguments) > 2 else None
    if bias is not None:
        if bias.dtype != np.float32:
            raise refuse(node, f"has a bias of type {bias.dtype}; float32 is expected")
        with np.errstate(all="ignore"):
            extra.append(Operation(function=add, parameters=(np.asarray(beta * bias, np.float32),)))
    return tuple(extra)
