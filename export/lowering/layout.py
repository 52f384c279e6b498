"""Operators that only move elements: the same code moves weights and the positions of a frame's elements."""

from __future__ import annotations

from math import prod

import numpy as np

from export.lowering import attributes
from export.lowering.refusal import refuse
from export.onnxfile import OnnxNode
from export.onnxtensor import Array

LAYOUT_OPERATORS = ("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")

_MAX_DIMENSIONS = 8


def move(node: OnnxNode, array: Array, arguments: list[Array | None], *, batch: int = 1) -> Array:
    """Apply a layout operator.

    Args:
        node: One of `LAYOUT_OPERATORS`.
        array: Its first input.
        arguments: Constants by input position; None where an input is no constant.
        batch: The file's fixed batch size, which stands as 1 in ``array``.

    Raises:
        LoweringError: The operator does not fit the array.
    """
    try:
        moved = _move(node, array, arguments, batch)
    except (ValueError, IndexError, OverflowError) as error:
        shape = "x".join(map(str, array.shape))
        raise refuse(
            node, f"does not fit its input of shape {shape}", hint="export the model again"
        ) from error
    if moved.ndim > _MAX_DIMENSIONS:
        raise refuse(node, f"makes {moved.ndim} dimensions; at most {_MAX_DIMENSIONS} are accepted")
    return moved


def _move(node: OnnxNode, array: Array, arguments: list[Array | None], batch: int) -> Array:
    match node.op_type:
        case "Flatten":
            axis = attributes.integer(node, "axis", 1)
            axis += array.ndim if axis < 0 else 0
            if not 0 <= axis <= array.ndim:
                raise ValueError(axis)
            return array.reshape(prod(array.shape[:axis]), -1)
        case "Transpose":
            return array.transpose(attributes.integers(node, "perm"))
        case "Squeeze":
            return np.squeeze(array, axis=attributes.axes(node, arguments))
        case "Unsqueeze":
            axes = attributes.axes(node, arguments)
            if axes is None:
                raise ValueError("axes")
            return np.expand_dims(array, axes)
        case _:
            return array.reshape(_target(node, array, arguments, batch))


def _target(node: OnnxNode, array: Array, arguments: list[Array | None], batch: int) -> list[int]:
    shape = attributes.integer_input(node, arguments, 1)
    if shape is None:
        raise refuse(node, "needs a constant shape")
    target = list(shape)
    if not attributes.integer(node, "allowzero", 0):
        target = [array.shape[i] if size == 0 else size for i, size in enumerate(target)]
    if batch != 1 and target and target[0] == batch and array.shape[:1] == (1,):
        target[0] = 1
    if any(size < -1 for size in target):
        raise ValueError(target)
    return target
