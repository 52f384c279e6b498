"""Constant folding: what a file computes from constants alone, such as ±1 weights and reshape targets."""

from __future__ import annotations

from math import prod

import numpy as np

from export.lowering import attributes
from export.lowering.layout import LAYOUT_OPERATORS, move
from export.lowering.pointwise import bind
from export.lowering.refusal import refuse
from export.onnxfile import OnnxNode
from export.onnxtensor import MAX_ELEMENTS, Array

_CAST_TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 11: np.float64}
_SHAPE_OPERATORS = ("Gather", "Concat", "Slice", "Cast", "Shape", "ConstantOfShape")
_INTEGER_OPERATORS = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}


def fold(node: OnnxNode, arguments: list[Array | None]) -> Array:
    """Compute a node whose inputs are all constant.

    Args:
        node: The node.
        arguments: Its inputs' values; None where an optional input is absent.

    Returns:
        Its first output; a node with more outputs in use is refused by its reader.

    Raises:
        LoweringError: The operator is not known, or its inputs do not fit.
    """
    try:
        with np.errstate(all="ignore"):
            return _fold(node, arguments)
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise refuse(node, "does not fit its constant inputs") from error


def _fold(node: OnnxNode, arguments: list[Array | None]) -> Array:
    if node.op_type == "Constant" and not node.domain:
        return _constant(node)
    given = [value for value in arguments if value is not None]
    first = arguments[0] if arguments else None
    if first is None:
        raise refuse(node, "has no first input")
    if not node.domain and node.op_type in LAYOUT_OPERATORS:
        return move(node, first, arguments)
    _check_size(node, given)
    if not node.domain and node.op_type in _INTEGER_OPERATORS and all(v.dtype.kind in "iu" for v in given):
        return _INTEGER_OPERATORS[node.op_type](*given)
    if not node.domain and node.op_type in _SHAPE_OPERATORS:
        return _shape_operator(node, first, arguments, given)
    operations = bind(node, [None, *arguments[1:]], 0, first.ndim)
    if operations is None:
        raise refuse(
            node, "computes constants in a way that is not known", hint="fold constants before exporting"
        )
    if first.dtype != np.float32:
        raise refuse(
            node, f"has an operand of type {first.dtype}; float32 is expected", hint="export in float32"
        )
    value = first
    for operation in operations:
        value = np.asarray(operation.function(value, *operation.parameters), np.float32)
    return value


def _constant(node: OnnxNode) -> Array:
    value = node.attributes.get("value")
    if isinstance(value, np.ndarray):
        return value
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if isinstance(number := node.attributes.get(name), int | float):
            return np.asarray(number, dtype)
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if isinstance(numbers := node.attributes.get(name), tuple):
            return np.asarray(numbers, dtype)
    raise refuse(node, "holds no tensor or number")


def _shape_operator(node: OnnxNode, first: Array, arguments: list[Array | None], given: list[Array]) -> Array:
    match node.op_type:
        case "Shape":
            return shape_slice(node, first.shape)
        case "Gather":
            index = arguments[1] if len(arguments) > 1 else None
            if index is None or index.dtype.kind not in "iu":
                raise refuse(node, "needs constant indices")
            axis = attributes.integer(node, "axis", 0)
            _limit(node, first.size * max(1, index.size))
            return np.take(first, index, axis=axis)
        case "ConstantOfShape":
            return _filled(node, first)
        case "Concat":
            _limit(node, sum(value.size for value in given))
            return np.concatenate(given, axis=attributes.integer(node, "axis", 0))
        case "Cast":
            to = attributes.integer(node, "to", 0)
            if to not in _CAST_TYPES:
                raise refuse(node, f"converts to the element type {to}, which is not used here")
            return first.astype(_CAST_TYPES[to])
        case _:
            return _slice(node, first, arguments)


def _filled(node: OnnxNode, shape: Array) -> Array:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    if (
        not isinstance(value, np.ndarray)
        or value.size != 1
        or shape.dtype.kind not in "iu"
        or shape.ndim != 1
    ):
        raise refuse(node, "needs a constant shape and one value")
    sizes = [int(size) for size in shape]
    if any(size < 0 for size in sizes):
        raise refuse(node, f"makes a constant of the shape {sizes}")
    _limit(node, prod(sizes))
    return np.full(sizes, value.reshape(()))


def _slice(node: OnnxNode, first: Array, arguments: list[Array | None]) -> Array:
    starts = attributes.integers(node, "starts") or attributes.integer_input(node, arguments, 1)
    ends = attributes.integers(node, "ends") or attributes.integer_input(node, arguments, 2)
    if starts is None or ends is None or len(starts) != len(ends):
        raise refuse(node, "needs constant starts and ends")
    axes = attributes.axes(node, arguments, 3) or tuple(range(len(starts)))
    steps = attributes.integer_input(node, arguments, 4) or (1,) * len(starts)
    slices = [slice(None)] * first.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # An end before the first element, as files write "to the very front", is Python's None.
        stop = None if step < 0 and end < -first.shape[axis] else end
        slices[axis] = slice(start, stop, step)
    return first[tuple(slices)]


def shape_slice(node: OnnxNode, shape: tuple[int, ...]) -> Array:
    """Return what the operator Shape gives for a tensor of this shape, int64."""
    start = attributes.integer(node, "start", 0)
    end = attributes.integer(node, "end", len(shape))
    return np.asarray(shape[start:end], np.int64)


def _check_size(node: OnnxNode, given: list[Array]) -> None:
    """Refuse operands whose broadcast would be huge; elementwise operators are the ones that grow."""
    if node.op_type in _SHAPE_OPERATORS:
        return
    small = [value for value in given if value.size != 1]
    if small:
        _limit(node, prod(np.broadcast_shapes(*(value.shape for value in small))))


def _limit(node: OnnxNode, elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise refuse(node, f"makes a constant of {elements} elements; at most {MAX_ELEMENTS} are accepted")
