"""Memory images: integer arrays as the hexadecimal text that ``$readmemh`` reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export.datatypes import DataType
from export.draws import MEAN_EXPONENT
from export.graph import IntArray, Mvau, Thresholds

MEAN_W = 8
"""Bits of the mean of a drawn weight in a memory word."""

_SIGNED_BITS_MAX = 63


def hex_words(fields: npt.NDArray[np.signedinteger], width_bits: int) -> str:
    """Encode words of equal fields, one word a line.

    Args:
        fields: ``(words, fields)``; field 0 becomes the least significant one.
        width_bits: Bits of a field; negative values become two's complement.

    Returns:
        Text with one line of hexadecimal digits a word.

    Raises:
        ValueError: A value needs more than ``width_bits``, signed or unsigned.
    """
    values = fields.astype(np.int64)
    if values.size and width_bits <= _SIGNED_BITS_MAX:
        low, high = int(values.min()), int(values.max())
        if low < -(1 << (width_bits - 1)) or high >= 1 << width_bits:
            raise ValueError(f"values from {low} to {high} do not fit {width_bits} bits")
    # An arithmetic shift by more than 63 is undefined; the sign repeats above bit 63.
    shifts = np.minimum(np.arange(width_bits), _SIGNED_BITS_MAX)
    bits = ((values[:, :, None] >> shifts) & 1).astype(np.uint8).reshape(len(values), -1)
    packed = np.packbits(bits, axis=1, bitorder="little")
    digits = -(-bits.shape[1] // 4)
    return "".join(f"{row[::-1].tobytes().hex()[-digits:]}\n" for row in packed)


def weight_width(node: Mvau) -> int:
    """Bits of one weight in a memory word: 1 for ±1."""
    return node.weight_type.width_bits


def weight_words(node: Mvau, pe: int, simd: int) -> IntArray:
    """Arrange weights, int64 ``(NF * SF, PE * SIMD)``: word ``nf * SF + sf``.

    ±1 become bits, and the means of drawn weights 0 to 255: mean + 128.
    """
    fields = node.weights > 0 if node.weight_type.is_bipolar else node.weights
    if node.draw is not None:
        fields = node.weights.astype(np.int64) + (1 << MEAN_EXPONENT)
    tiles = fields.astype(np.int64).reshape(node.mh // pe, pe, node.mw // simd, simd)
    return tiles.transpose(0, 2, 1, 3).reshape(-1, pe * simd)


def accumulator_width(node: Mvau) -> int:
    """Bits of a hardware accumulator: any weights of this shape fit, and one more than the greatest sum."""
    if counts_agreements(node):
        return (node.mw + 1).bit_length()
    return node.in_type.width_bits + node.mw.bit_length() + weight_width(node)


def counts_agreements(node: Mvau) -> bool:
    """Whether accumulators count agreeing positions (±1 by ±1) instead of adding products."""
    return node.in_type.is_bipolar and node.weight_type.is_bipolar


def threshold_words(node: Mvau, thresholds: Thresholds, pe: int) -> IntArray:
    """Arrange a layer's thresholds, int64 ``(NF, PE * levels)``, in the hardware accumulator's domain.

    For BIPOLAR inputs and weights hardware counts agreeing positions: the sum is ``2 * count - MW``.
    Thresholds beyond what the accumulator can reach become "always" or "never".
    """
    bound = node.mw * _magnitude(node.in_type) * _magnitude(node.weight_type)
    steps = np.clip(thresholds.steps, -bound, bound + 1)
    if counts_agreements(node):
        steps = -((-steps - node.mw) // 2)
    rows = np.broadcast_to(steps, (node.mh, steps.shape[1]))
    return rows.reshape(node.mh // pe, -1)


def _magnitude(dtype: DataType) -> int:
    return max(abs(dtype.minimum), abs(dtype.maximum))


def offset_words(node: Mvau, pe: int, *, with_bias: bool) -> IntArray:
    """Arrange what a layer without thresholds adds to its sums, int64 ``(NF, PE)``."""
    offsets = np.zeros(node.mh, np.int64)
    if with_bias and node.bias is not None:
        offsets += node.bias
    if counts_agreements(node):
        offsets -= node.mw
    return offsets.reshape(-1, pe)


def stream_threshold_words(thresholds: Thresholds, in_type: DataType, lanes: int) -> IntArray:
    """Arrange elementwise thresholds, int64 ``(beats, lanes * levels)``, until the channels repeat.

    Those of a ±1 stream are in the domain of its bits: 0 always, 1 for +1, 2 never.
    """
    steps = np.clip(thresholds.steps, in_type.minimum, in_type.maximum + 1)
    if in_type.is_bipolar:
        steps = (steps + 2) // 2
    if bool(np.all(steps == steps[0])):
        steps = steps[:1]
    elements = int(np.lcm(len(steps), lanes)) if len(steps) > 1 else lanes
    return steps[np.arange(elements) % len(steps)].reshape(elements // lanes, -1)
