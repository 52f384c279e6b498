"""From an ONNX graph to a chain: elementwise steps and matrix products, one after the other.

Where two activations are added, the chain goes on from one step that holds the steps of both sides.

Layout operators leave no step. Each activation carries, for every element of its ONNX tensor, that element's
position in the hardware's stream (NHWC for an image, the neuron for a dense layer), and they move these
positions; a matrix product then finds its columns in stream order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from export.errors import LoweringError
from export.lowering import attributes
from export.lowering.constants import fold, shape_slice
from export.lowering.drawn import DrawnWeights
from export.lowering.layout import LAYOUT_OPERATORS, move
from export.lowering.operations import FloatArray, Operation, add, multiply
from export.lowering.pointwise import bind
from export.lowering.refusal import refuse
from export.lowering.spatial import SPATIAL_OPERATORS, Bias, bind_spatial
from export.lowering.steps import (
    MAX_FRAME_ELEMENTS,
    Activation,
    Chain,
    JoinStep,
    LinearStep,
    Point,
    PointwiseStep,
    Step,
)
from export.onnxfile import FLOAT, OnnxModel, OnnxNode
from export.onnxtensor import Array

_LABEL_OPERATORS = ("TopK", "ArgMax", "Softmax", "LogSoftmax")
_LABELS = ("TopK", "ArgMax")
_PASS_A_LABEL = (*LAYOUT_OPERATORS, "Identity", "Cast")


def build_chain(model: OnnxModel) -> Chain:
    """Follow the image through the graph.

    Raises:
        LoweringError: A node that hardware can't compute; the message names it and the reason.
    """
    shape = image_shape(model)
    batch = model.input_shape[0] or 1
    image = np.arange(prod(shape), dtype=np.int64).reshape(1, *shape).transpose(0, 3, 1, 2)
    dims = [1, *(size or 0 for size in model.input_shape[1:])]
    start = Activation(positions=image.reshape(dims), plain=image.reshape(-1), frame=shape)
    values: dict[str, Array | Activation] = {**model.initializers, model.input_name: start}
    drawn = DrawnWeights()
    for node in model.nodes:
        if not drawn.follow(node, values):
            _visit(node, values, batch)
        drawn.mark_product(node, values)
    results = [values.get(name) for name in model.outputs]
    last = results[0]
    if not isinstance(last, Activation):
        raise LoweringError(f"output {model.outputs[0]!r} does not depend on the image")
    if any(result is not last for result in results):
        raise LoweringError(
            f"the graph has {len(results)} outputs; the logits or the label alone are expected",
            hint="export one output",
        )
    if not last.is_plain:
        raise LoweringError(
            f"output {model.outputs[0]!r} holds the logits in another order than the last layer",
            hint="end the network with the last layer's own order of classes",
        )
    return Chain(
        input_shape=shape,
        points=_points(values),
        end=last.steps[-1] if last.steps else None,
        logit_exponent=model.logit_exponent,
    )


def _points(values: Mapping[str, Array | Activation]) -> tuple[Point, ...]:
    """Return every step once, in the order in which the file's nodes computed the values."""
    points: dict[int, Point] = {}
    for value in values.values():
        fresh: list[Point] = []
        steps = value.steps if isinstance(value, Activation) else ()
        for index in range(len(steps) - 1, -1, -1):
            step = steps[index]
            # What stands before a known step is known too: it came with the activation of an earlier node.
            if id(step) in points:
                break
            if isinstance(step, JoinStep):
                parents = (_last_of(step.left), _last_of(step.right))
            else:
                parents = (_last_of(steps[:index]),)
            fresh.append(Point(step=step, parents=parents))
        points |= {id(point.step): point for point in reversed(fresh)}
    return tuple(points.values())


def _last_of(steps: tuple[Step, ...]) -> Step | None:
    return steps[-1] if steps else None


def image_shape(model: OnnxModel) -> tuple[int, int, int]:
    """Return ``(height, width, channels)`` of the images that a file takes.

    Four dimensions are NCHW, three are grey images NHW, two are one row of pixels.
    """
    sizes = model.input_shape[1:]
    if model.input_type != FLOAT:
        raise LoweringError(
            f"input {model.input_name!r} is not float32", hint="export a model that takes floats in [0, 1]"
        )
    known = tuple(size for size in sizes if size is not None)
    if len(known) != len(sizes) or not 1 <= len(known) <= 3:
        raise LoweringError(
            f"input {model.input_name!r} has the shape {list(model.input_shape)}; (N, C, H, W) is expected",
            hint="export with a fixed image size",
        )
    if prod(known) > MAX_FRAME_ELEMENTS:
        raise LoweringError(f"an image of {prod(known)} elements; at most {MAX_FRAME_ELEMENTS} are accepted")
    match known:
        case (channels, height, width):
            return height, width, channels
        case (height, width):
            return height, width, 1
        case _:
            return 1, known[0], 1


def _visit(node: OnnxNode, values: dict[str, Array | Activation], batch: int) -> None:
    inputs = [values.get(name) if name else None for name in node.inputs]
    for name, value in zip(node.inputs, inputs, strict=True):
        if name and value is None:
            raise refuse(node, f"reads {name!r}, a second output of a node before it, which is not computed")
    streams = [(index, value) for index, value in enumerate(inputs) if isinstance(value, Activation)]
    arguments = [None if isinstance(value, Activation) else value for value in inputs]
    if not node.outputs:
        raise refuse(node, "has no output")
    if len(streams) > 1:
        values[node.outputs[0]] = _join(node, [activation for _, activation in streams])
        return
    if not streams:
        values[node.outputs[0]] = fold(node, arguments)
        return
    position, activation = streams[0]
    if node.op_type == "Shape" and not node.domain:
        values[node.outputs[0]] = shape_slice(node, (batch, *activation.positions.shape[1:]))
        return
    result = _apply(node, activation, arguments, position, batch)
    # TopK's values and indices stand for the same label; of any other node only the first output is computed.
    names = node.outputs if node.op_type == "TopK" else node.outputs[:1]
    values.update(dict.fromkeys(names, result))


def _join(node: OnnxNode, sides: list[Activation]) -> Activation:
    """Add two activations element by element."""
    if node.op_type != "Add" or node.domain or len(sides) != 2 or any(side.label for side in sides):
        raise refuse(
            node, "joins activations other than by adding two of them", hint="use Add for a residual branch"
        )
    left, right = sides
    if left.frame != right.frame or not np.array_equal(left.positions, right.positions):
        shapes = ["x".join(map(str, side.positions.shape)) for side in sides]
        raise refuse(node, f"adds activations of shapes {shapes[0]} and {shapes[1]}, or of other orders")
    tensor = node.outputs[0] if left.is_plain else None
    step = JoinStep(node=(node.name, node.op_type), tensor=tensor, left=left.steps, right=right.steps)
    return replace(left, steps=(step,))


def _apply(
    node: OnnxNode, activation: Activation, arguments: list[Array | None], position: int, batch: int
) -> Activation:
    standard = not node.domain
    passes = activation.label is not None and node.op_type in _PASS_A_LABEL and standard
    if passes and activation.label is not None and activation.label[1] in _LABELS:
        return activation
    if node.op_type in _LABEL_OPERATORS and standard:
        return _label(node, activation, arguments)
    if activation.label is not None and not passes:
        raise refuse(
            node, f"computes with the result of {activation.label[0]!r}", hint="end the network there"
        )
    if node.op_type in LAYOUT_OPERATORS and standard:
        if position != 0:
            raise refuse(node, "takes the activation where a constant is expected")
        return replace(activation, positions=move(node, activation.positions, arguments, batch=batch))
    if passes:
        return activation
    if node.op_type in ("MatMul", "Gemm") and standard:
        return _linear(node, activation, arguments, position)
    if node.op_type in SPATIAL_OPERATORS and standard:
        return _spatial(node, activation, arguments, position)
    operations = bind(node, arguments, position, activation.positions.ndim)
    if operations is None:
        raise refuse(
            node, _why_not(node), hint="train the network without it, or lower it to known operators"
        )
    return _append(node, activation, operations, node.outputs[0])


def _why_not(node: OnnxNode) -> str:
    if node.op_type == "Sign":
        return "maps 0 to 0, so its result is not ±1; BipolarQuant is expected"
    where = f" of the operator set {node.domain!r}" if node.domain else ""
    return f"is an operator{where} that integer hardware does not have"


def _append(
    node: OnnxNode, activation: Activation, operations: tuple[Operation, ...], tensor: str | None
) -> Activation:
    """Add elementwise operations; ``tensor`` holds the result of the last one."""
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


def _linear(
    node: OnnxNode, activation: Activation, arguments: list[Array | None], position: int
) -> Activation:
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
    return _append(node, product, extra, node.outputs[0])


def _spatial(
    node: OnnxNode, activation: Activation, arguments: list[Array | None], position: int
) -> Activation:
    if position != 0:
        raise refuse(node, "takes the activation where a constant is expected")
    result, bias = bind_spatial(node, activation, arguments)
    return result if bias is None else _append(node, result, (_addition(bias),), node.outputs[0])


def _addition(bias: Bias) -> Operation:
    return Operation(function=add, parameters=(bias,))


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


def _label(node: OnnxNode, activation: Activation, arguments: list[Array | None]) -> Activation:
    """Accept an operator that turns logits into a label, or keeps their order."""
    if activation.label is not None and activation.label[1] in _LABELS:
        raise refuse(
            node, f"computes with the label of {activation.label[0]!r}", hint="end the network there"
        )
    shape = activation.positions.shape
    axis = attributes.integer(node, "axis", -1 if node.op_type != "ArgMax" else 0)
    if not activation.steps or activation.positions.size != shape[-1] or axis not in (-1, len(shape) - 1):
        raise refuse(node, "does not work along the classes", hint="apply it to logits of shape (N, classes)")
    if not activation.is_plain:
        raise refuse(node, "reads the logits in another order than the last layer computes them")
    if node.op_type == "ArgMax" and attributes.integer(node, "select_last_index", 0):
        raise refuse(node, "takes the last of equal logits; hardware takes the first")
    if node.op_type == "TopK":
        count = attributes.scalar(node, arguments[1] if len(arguments) > 1 else None, "k")
        if count != 1 or not attributes.integer(node, "largest", 1):
            raise refuse(node, f"keeps {count:g} classes; the largest one is expected", hint="use k=1")
    return replace(activation, label=(node.name, node.op_type))
