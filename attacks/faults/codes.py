"""Weights, thresholds and activations as the unsigned codes that hardware holds, and back.

They are the contents of the memories of hw/rtlgen/memory.py and of its streams.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.datatypes import DataType
from export.draws import MEAN_EXPONENT
from export.errors import InputError
from export.graph import IntArray, Mvau, Thresholding, Thresholds
from hw.rtlgen.memory import (
    MEAN_W,
    accumulator_width,
    counts_agreements,
    stream_threshold_words,
    threshold_words,
    weight_width,
)

_MEAN_OFFSET = 1 << MEAN_EXPONENT
_WIDEST = 63


def weight_bits(node: Mvau) -> int:
    """Bits of one weight in the memory, or of the mean of a drawn one."""
    return weight_width(node) if node.draw is None else MEAN_W


def weight_codes(node: Mvau) -> IntArray:
    """Return weights as codes, int64 ``(MH, MW)``."""
    weights = node.weights.astype(np.int64)
    if node.draw is not None:
        return weights + _MEAN_OFFSET
    return (
        (weights > 0).astype(np.int64)
        if node.weight_type.is_bipolar
        else _unsigned(weights, weight_bits(node))
    )


def with_weight_codes(node: Mvau, codes: IntArray) -> Mvau:
    """Return a node whose weights are codes, int64 ``(MH, MW)``.

    TERNARY weights that leave their range become INT2, which hardware holds in the same two bits.
    """
    if node.draw is not None:
        weights = codes - _MEAN_OFFSET
    elif node.weight_type.is_bipolar:
        weights = 2 * codes - 1
    else:
        weights = _signed(codes, weight_bits(node))
    kind = node.weight_type
    if kind.is_ternary and int(weights.min()) < kind.minimum:
        kind = DataType("INT2")
    return replace(node, weights=weights.astype(np.int8), weight_type=kind)


def thresholds_of(node: Mvau | Thresholding) -> Thresholds:
    """Return a node's thresholds.

    Raises:
        InputError: It has none.
    """
    if node.thresholds is None:
        raise InputError(f"{node.name} has no thresholds: its sums leave as they are", node=node.name)
    return node.thresholds


def threshold_bits(node: Mvau | Thresholding) -> int:
    """Bits of one threshold in the memory.

    Raises:
        InputError: No generated hardware has so wide a stream.
    """
    bits = accumulator_width(node) if isinstance(node, Mvau) else node.in_type.width_bits + 1
    if bits >= _WIDEST:
        raise InputError(f"{node.name}: a threshold of {bits} bits fits no hardware", node=node.name)
    return bits


def threshold_codes(node: Mvau | Thresholding, channels: int) -> IntArray:
    """Return thresholds as codes, int64 ``(channels, levels)``.

    Args:
        node: Has thresholds.
        channels: Of its output.
    """
    thresholds = thresholds_of(node)
    if isinstance(node, Mvau):
        values = threshold_words(node, thresholds, 1)
    else:
        values = stream_threshold_words(thresholds, node.in_type, 1)
    return _unsigned(np.broadcast_to(values, (channels, values.shape[1])), threshold_bits(node))


def with_threshold_codes(node: Mvau | Thresholding, codes: IntArray) -> Mvau | Thresholding:
    """Return a node that compares with codes, int64 ``(channels, levels)``; unchanged ones keep their value.

    Hardware counts the thresholds that are reached, in any order, so a channel whose thresholds no longer
    ascend computes the same as with its thresholds sorted; those of the node returned are.
    """
    thresholds = thresholds_of(node)
    old = threshold_codes(node, len(codes))
    steps = np.broadcast_to(thresholds.steps, codes.shape)
    changed = np.where(codes == old, steps, _threshold_values(node, codes))
    return replace(node, thresholds=replace(thresholds, steps=np.sort(changed, axis=1)))


def _threshold_values(node: Mvau | Thresholding, codes: IntArray) -> IntArray:
    """Thresholds on the graph's values that say the same as codes on the hardware's."""
    if isinstance(node, Mvau):
        # Agreeing positions are counted; the sum is 2 * count - MW.
        return 2 * codes - node.mw if counts_agreements(node) else _signed(codes, threshold_bits(node))
    if node.in_type.is_bipolar:
        return 2 * codes - 1
    return _signed(codes, threshold_bits(node)) if node.in_type.is_signed else codes


def activation_codes(values: IntArray, dtype: DataType) -> IntArray:
    """Return values of a stream as codes."""
    return (values + 1) // 2 if dtype.is_bipolar else _unsigned(values, dtype.width_bits)


def activation_values(codes: IntArray, dtype: DataType) -> IntArray:
    """Return codes as values of a stream."""
    if dtype.is_bipolar:
        return 2 * codes - 1
    return _signed(codes, dtype.width_bits) if dtype.is_signed else codes


def wrap(values: IntArray, dtype: DataType) -> IntArray:
    """Return sums as a stream of a type holds them: they wrap around where they are too large for it."""
    return values if dtype.is_bipolar else activation_values(activation_codes(values, dtype), dtype)


def _unsigned(values: IntArray, bits: int) -> IntArray:
    return values & np.int64((1 << bits) - 1)


def _signed(codes: IntArray, bits: int) -> IntArray:
    half = np.int64(1) << np.int64(bits - 1)
    return (codes ^ half) - half
