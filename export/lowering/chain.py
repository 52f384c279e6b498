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
from export.lowering.operations import Operation, add
from export.lowering.pointwise import bind
from export.lowering.products import append_operations, multiply_by_weights
from export.lowering.refusal import refuse
from export.lowering.spatial import SPATIAL_OPERATORS, bind_spatial
from export.lowering.steps import (
    MAX_FRAME_ELEMENTS,
    Activation,
    Chain,
    JoinStep,
    Point,
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
        return multiply_by_weights(node, activation, arguments, position)
    if node.op_type in SPATIAL_OPERATORS and standard:
        return _spatial(node, activation, arguments, position)
    operations = bind(node, arguments, position, activation.positions.ndim)
    if operations is None:
        raise refuse(
            node, _why_not(node), hint="train the network without it, or lower it to known operators"
        )
    return append_operations(node, activation, operations, node.outputs[0])


def _why_not(node: OnnxNode) -> str:
    if node.op_type == "Sign":
        return "maps 0 to 0, so its result is not ±1; BipolarQuant is expected"
    where = f" of the operator set {node.domain!r}" if node.domain else ""
    return f"is an operator{where} that integer hardware does not have"


def _spatial(
    node: OnnxNode, activation: Activation, arguments: list[Array | None], position: int
) -> Activation:
    if position != 0:
        raise refuse(node, "takes the activation where a constant is expected")
    result, bias = bind_spatial(node, activation, arguments)
    if bias is None:
        return result
    addition = Operation(function=add, parameters=(bias,))
    return append_operations(node, result, (addition,), node.outputs[0])


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
