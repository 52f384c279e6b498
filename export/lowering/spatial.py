"""Conv, MaxPool, AveragePool and Pad: from an ONNX node to the steps of a chain."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from export.lowering import attributes
from export.lowering.operations import FloatArray
from export.lowering.refusal import refuse
from export.lowering.steps import (
    MAX_FRAME_ELEMENTS,
    Activation,
    AverageStep,
    Frame,
    LinearStep,
    PadStep,
    PoolStep,
    Step,
    nchw_positions,
)
from export.onnxfile import OnnxNode
from export.onnxtensor import Array
from export.windows import MAX_WINDOW

SPATIAL_OPERATORS = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Pad")

Bias = FloatArray

_Pads = tuple[int, int, int, int]
_NO_PADS: _Pads = (0, 0, 0, 0)


def bind_spatial(
    node: OnnxNode, activation: Activation, arguments: list[Array | None]
) -> tuple[Activation, Bias | None]:
    """Apply a node that looks at neighbouring pixels.

    Args:
        node: One of `SPATIAL_OPERATORS`, with the activation as its first input.
        activation: The activation, a feature map.
        arguments: Constants by input position; None where an input is no constant.

    Returns:
        The result, and what Conv adds to it, float32 ``(1, channels, 1, 1)``.

    Raises:
        LoweringError: The operator's attributes or constants can't be used.
    """
    frame = _feature_map(node, activation)
    match node.op_type:
        case "Conv":
            return _conv(node, activation, frame, arguments)
        case "MaxPool":
            return _max_pool(node, activation, frame), None
        case "AveragePool" | "GlobalAveragePool":
            return _average_pool(node, activation, frame), None
        case _:
            return _pad(node, activation, frame, arguments), None


def _feature_map(node: OnnxNode, activation: Activation) -> Frame:
    frame = activation.frame
    if frame is None:
        raise refuse(
            node, "follows a dense layer, which leaves no feature map", hint="put it before the dense layers"
        )
    expected = nchw_positions(frame)
    if activation.positions.shape != expected.shape or not activation.is_plain:
        shape = "x".join(map(str, activation.positions.shape))
        raise refuse(
            node,
            f"reads an activation of shape {shape}, no feature map (N, C, H, W) in the order of the image",
            hint="use 2-D operators on (N, C, H, W), and a model whose input has that shape",
        )
    return frame


def _conv(
    node: OnnxNode, activation: Activation, frame: Frame, arguments: list[Array | None]
) -> tuple[Activation, Bias | None]:
    weights = arguments[1] if len(arguments) > 1 else None
    if weights is None:
        raise refuse(node, "does not have constant weights", hint="fold the weights before exporting")
    channels, groups = frame[2], attributes.integer(node, "group", 1)
    fits = weights.dtype == np.float32 and weights.ndim == 4 and weights.size > 0 and groups >= 1
    if not fits or weights.shape[1] * groups != channels or len(weights) % groups:
        shape = "x".join(map(str, weights.shape))
        where = f"{channels} channels" + (f" in {groups} groups" if groups != 1 else "")
        raise refuse(node, f"has {weights.dtype} weights of shape {shape} for {where}")
    kernel = (weights.shape[2], weights.shape[3])
    if attributes.integers(node, "kernel_shape") not in (None, kernel):
        raise refuse(node, f"says it has another kernel than its weights' {kernel[0]}x{kernel[1]}")
    stride, pads = _window(node, frame, kernel)
    bias = _conv_bias(node, arguments, weights.shape[0])
    steps: list[Step] = list(activation.steps)
    frame = _padded(node, frame, pads)
    if pads != _NO_PADS:
        steps.append(PadStep(node=(node.name, node.op_type), tensor=None, pads=pads, value=0.0))
    step = LinearStep(
        node=(node.name, node.op_type),
        tensor=node.outputs[0] if bias is None else None,
        weights=np.ascontiguousarray(weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)),
        kernel=kernel,
        stride=stride,
        frame=frame,
        groups=groups,
    )
    rows, columns = _positions_of(node, frame, kernel, stride)
    return _moved(node, activation, (*steps, step), (rows, columns, len(weights))), bias


def _conv_bias(node: OnnxNode, arguments: list[Array | None], channels: int) -> Bias | None:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return None
    bias = arguments[2]
    if bias is None or bias.dtype != np.float32 or bias.shape != (channels,):
        raise refuse(node, f"needs a constant float32 bias of {channels} values")
    return bias.reshape(1, channels, 1, 1)


def _pool_kernel(node: OnnxNode) -> tuple[int, int]:
    kernel = attributes.integers(node, "kernel_shape")
    if kernel is None or len(kernel) != 2:
        raise refuse(node, "needs a kernel_shape of two sizes")
    if attributes.integer(node, "ceil_mode", 0):
        raise refuse(
            node, "pools windows that reach past the feature map (ceil_mode)", hint="use ceil_mode=0"
        )
    return kernel[0], kernel[1]


def _average_pool(node: OnnxNode, activation: Activation, frame: Frame) -> Activation:
    kernel, stride = (frame[0], frame[1]), (1, 1)
    if node.op_type == "AveragePool":
        kernel = _pool_kernel(node)
        stride, pads = _window(node, frame, kernel)
        if pads != _NO_PADS:
            raise refuse(node, "averages windows that hold padding", hint="average without padding")
    if (kernel[0] * kernel[1]).bit_count() != 1:
        raise refuse(
            node,
            f"divides by {kernel[0]}x{kernel[1]}, no power of two, so float32 rounds what integers don't",
            hint="average windows such as 2x2, 4x4 or 8x8",
        )
    rows, columns = _positions_of(node, frame, kernel, stride)
    step = AverageStep(node=(node.name, node.op_type), tensor=node.outputs[0], kernel=kernel, stride=stride)
    return _moved(node, activation, (*activation.steps, step), (rows, columns, frame[2]))


def _max_pool(node: OnnxNode, activation: Activation, frame: Frame) -> Activation:
    kernel = _pool_kernel(node)
    stride, pads = _window(node, frame, kernel)
    if max(pads[0], pads[2]) >= kernel[0] or max(pads[1], pads[3]) >= kernel[1]:
        raise refuse(node, "has pads as large as its window, which may then hold nothing but padding")
    where = (node.name, node.op_type)
    steps: list[Step] = list(activation.steps)
    frame = _padded(node, frame, pads)
    if pads != _NO_PADS:
        steps.append(PadStep(node=where, tensor=None, pads=pads, value=None))
    rows, columns = _positions_of(node, frame, kernel, stride)
    step = PoolStep(node=where, tensor=node.outputs[0], kernel=kernel, stride=stride)
    return _moved(node, activation, (*steps, step), (rows, columns, frame[2]))


def _pad(node: OnnxNode, activation: Activation, frame: Frame, arguments: list[Array | None]) -> Activation:
    mode = attributes.text(node, "mode", "constant")
    if mode != "constant":
        raise refuse(node, f"pads by {mode[:20]!r}; constant is expected", hint="pad with a constant")
    listed = attributes.integers(node, "pads") or attributes.integer_input(node, arguments, 1)
    given = attributes.integer_input(node, arguments, 3) or tuple(range(4))
    sizes = [0] * 8
    if listed is None or len(listed) != 2 * len(given) or not all(-4 <= axis < 4 for axis in given):
        raise refuse(node, "needs constant pads, two for each axis of (N, C, H, W)")
    for index, axis in enumerate(given):
        sizes[axis % 4], sizes[4 + axis % 4] = listed[index], listed[len(given) + index]
    if any(sizes[axis] for axis in (0, 1, 4, 5)):
        raise refuse(node, "pads the batch or the channels; only height and width can be")
    value = attributes.real(node, "value", 0.0)
    if len(node.inputs) > 2 and node.inputs[2]:
        value = attributes.scalar(node, arguments[2], "padding value")
    pads = (sizes[2], sizes[3], sizes[6], sizes[7])
    frame = _padded(node, frame, pads)
    if pads == _NO_PADS:
        return activation
    step = PadStep(node=(node.name, node.op_type), tensor=node.outputs[0], pads=pads, value=value)
    return _moved(node, activation, (*activation.steps, step), frame)


def _window(node: OnnxNode, frame: Frame, kernel: tuple[int, int]) -> tuple[tuple[int, int], _Pads]:
    """Return a window's stride and pads."""
    strides = attributes.integers(node, "strides") or (1, 1)
    dilations = attributes.integers(node, "dilations") or (1, 1)
    if set(dilations) != {1}:
        raise refuse(node, "has a dilated window; hardware's windows have no holes", hint="use dilation=1")
    if len(strides) != 2 or not all(1 <= size <= MAX_WINDOW for size in (*strides, *kernel)):
        raise refuse(node, f"needs a kernel and two strides of 1 to {MAX_WINDOW} pixels")
    stride = (strides[0], strides[1])
    return stride, _window_pads(node, frame, kernel, stride)


def _window_pads(node: OnnxNode, frame: Frame, kernel: tuple[int, int], stride: tuple[int, int]) -> _Pads:
    automatic = attributes.text(node, "auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max(0, (-(-size // step) - 1) * step + reach - size)
            for size, step, reach in zip(frame[:2], stride, kernel, strict=True)
        ]
        less = [total // 2 for total in totals]
        more = [total - half for total, half in zip(totals, less, strict=True)]
        first, last = (less, more) if automatic == "SAME_UPPER" else (more, less)
        return first[0], first[1], last[0], last[1]
    if automatic not in ("NOTSET", "VALID"):
        raise refuse(node, f"has the unknown auto_pad {automatic[:20]!r}")
    pads = attributes.integers(node, "pads") if automatic == "NOTSET" else None
    if pads is None:
        return _NO_PADS
    if len(pads) != 4:
        raise refuse(node, f"has {len(pads)} pads; a 2-D window has 4")
    return pads[0], pads[1], pads[2], pads[3]


def _padded(node: OnnxNode, frame: Frame, pads: _Pads) -> Frame:
    if not all(0 <= size <= MAX_WINDOW for size in pads):
        raise refuse(node, f"has pads {pads}; 0 to {MAX_WINDOW} pixels can be added")
    grown = (frame[0] + pads[0] + pads[2], frame[1] + pads[1] + pads[3], frame[2])
    if prod(grown) > MAX_FRAME_ELEMENTS:
        raise refuse(node, f"makes {prod(grown)} elements; at most {MAX_FRAME_ELEMENTS} are accepted")
    return grown


def _positions_of(
    node: OnnxNode, frame: Frame, kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    if kernel[0] > frame[0] or kernel[1] > frame[1]:
        raise refuse(
            node, f"has a window of {kernel[0]}x{kernel[1]} on a feature map of {frame[0]}x{frame[1]}"
        )
    return (frame[0] - kernel[0]) // stride[0] + 1, (frame[1] - kernel[1]) // stride[1] + 1


def _moved(node: OnnxNode, activation: Activation, steps: tuple[Step, ...], frame: Frame) -> Activation:
    if prod(frame) > MAX_FRAME_ELEMENTS:
        raise refuse(node, f"makes {prod(frame)} elements; at most {MAX_FRAME_ELEMENTS} are accepted")
    positions = nchw_positions(frame)
    return replace(activation, positions=positions, plain=positions.reshape(-1), frame=frame, steps=steps)
