"""Elementwise operators in float32, operation for operation as ONNX executors compute them.

A network's meaning is its own float arithmetic, roundings included, so nothing here is simplified: thresholds
come from running these functions at every value that can occur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Function = Callable[..., FloatArray]

_ZERO: FloatArray = np.asarray(0, np.float32)
_ONE: FloatArray = np.asarray(1, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """One elementwise function with its constants.

    Attributes:
        function: ``function(x, *parameters)``, float32 in and out.
        parameters: Constants that broadcast against x.
        alternatives: The same function in the orders of operation that other executors use.
    """

    function: Function
    parameters: tuple[FloatArray, ...] = ()
    alternatives: tuple[Function, ...] = ()


def add(x: FloatArray, c: FloatArray) -> FloatArray:
    """ONNX Add."""
    return x + c


def subtract(x: FloatArray, c: FloatArray) -> FloatArray:
    """ONNX Sub, x - c."""
    return x - c


def subtract_from(x: FloatArray, c: FloatArray) -> FloatArray:
    """ONNX Sub, c - x."""
    return c - x


def multiply(x: FloatArray, c: FloatArray) -> FloatArray:
    """ONNX Mul."""
    return x * c


def divide(x: FloatArray, c: FloatArray) -> FloatArray:
    """ONNX Div, x / c."""
    return x / c


def square(x: FloatArray) -> FloatArray:
    """ONNX Pow with exponent 2."""
    return x * x


def square_root(x: FloatArray) -> FloatArray:
    """ONNX Sqrt."""
    return np.sqrt(x)


def absolute(x: FloatArray) -> FloatArray:
    """ONNX Abs."""
    return np.abs(x)


def negate(x: FloatArray) -> FloatArray:
    """ONNX Neg."""
    return -x


def relu(x: FloatArray) -> FloatArray:
    """ONNX Relu."""
    return np.maximum(x, _ZERO)


def clip(x: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """ONNX Clip; also how Brevitas and torch export a hard tanh."""
    return np.minimum(np.maximum(x, low), high)


def floor(x: FloatArray) -> FloatArray:
    """ONNX Floor."""
    return np.floor(x)


def ceil(x: FloatArray) -> FloatArray:
    """ONNX Ceil."""
    return np.ceil(x)


def round_half_even(x: FloatArray) -> FloatArray:
    """ONNX Round."""
    return np.rint(x)


def round_up(x: FloatArray) -> FloatArray:
    """QONNX rounding mode UP: away from zero."""
    return np.sign(x) * np.ceil(np.abs(x))


def round_half_up(x: FloatArray) -> FloatArray:
    """QONNX rounding mode HALF_UP: halves away from zero."""
    return np.sign(x) * np.floor(np.abs(x) + np.float32(0.5))


def round_half_down(x: FloatArray) -> FloatArray:
    """QONNX rounding mode HALF_DOWN: halves towards zero."""
    return np.sign(x) * np.ceil(np.abs(x) - np.float32(0.5))


def truncate(x: FloatArray) -> FloatArray:
    """QONNX rounding mode DOWN: towards zero."""
    return np.trunc(x)


def bipolar_sign(x: FloatArray) -> FloatArray:
    """QONNX BipolarQuant without its scale: +1 where x >= 0, else -1."""
    return np.where(x >= 0, _ONE, -_ONE)


def clip_as_quant(x: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """The clamping inside QONNX Quant; the same as `clip` but for NaN, which stays."""
    limited = np.where(x > high, high, x)
    return np.where(limited < low, low, limited)


def batch_norm(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, mean: FloatArray, var: FloatArray, epsilon: FloatArray
) -> FloatArray:
    """ONNX BatchNormalization as onnxruntime orders it: one scale and one shift, two roundings."""
    scale, shift = _scale_shift(gamma, beta, mean, var, epsilon)
    return x * scale + shift


def batch_norm_fused(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, mean: FloatArray, var: FloatArray, epsilon: FloatArray
) -> FloatArray:
    """The same with a fused multiply-add, as compilers make of it.

    float64 holds the product of two float32 exactly; its sum is rounded there before it is rounded to
    float32, which differs from a true fused operation in about one case of 2**29.
    """
    scale, shift = _scale_shift(gamma, beta, mean, var, epsilon)
    return (x.astype(np.float64) * scale.astype(np.float64) + shift.astype(np.float64)).astype(np.float32)


def batch_norm_centred(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, mean: FloatArray, var: FloatArray, epsilon: FloatArray
) -> FloatArray:
    """BatchNormalization as its formula reads: centre, divide, scale, shift."""
    return divide(x - mean, _deviation(var, epsilon)) * gamma + beta


def batch_norm_inverse(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, mean: FloatArray, var: FloatArray, epsilon: FloatArray
) -> FloatArray:
    """Centre, multiply by the inverse deviation, scale, shift."""
    return (x - mean) * divide(_ONE, _deviation(var, epsilon)) * gamma + beta


def batch_norm_quotient(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, mean: FloatArray, var: FloatArray, epsilon: FloatArray
) -> FloatArray:
    """One scale, gamma divided by the deviation, and one shift."""
    scale = divide(gamma, _deviation(var, epsilon))
    return x * scale + subtract(beta, multiply(mean, scale))


BATCH_NORM_ALTERNATIVES = (batch_norm_fused, batch_norm_centred, batch_norm_inverse, batch_norm_quotient)


def _deviation(var: FloatArray, epsilon: FloatArray) -> FloatArray:
    return np.sqrt(var + epsilon)


def _scale_shift(
    gamma: FloatArray, beta: FloatArray, mean: FloatArray, var: FloatArray, epsilon: FloatArray
) -> tuple[FloatArray, FloatArray]:
    scale = multiply(divide(_ONE, _deviation(var, epsilon)), gamma)
    return scale, subtract(beta, multiply(mean, scale))
