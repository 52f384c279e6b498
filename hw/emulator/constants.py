"""Weights and thresholds in the form that the native kernels read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.datatypes import DataType
from export.graph import IntArray, Mvau, Thresholds

LANES = 8
BYTE_LANES = 16
WORD_BITS = 64
# Never reached by a popcount, and far from where 64-bit arithmetic would wrap.
_NEVER = -(1 << 62)
_FAR = 1 << 60
# Past any value of a stream.
_WIDE = (1 << 62) - 1


def words_for(bits: int) -> int:
    """Return the number of 64-bit words that hold ``bits`` bits."""
    return -(-bits // WORD_BITS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BitProduct:
    """A ±1 matrix product by popcounts: ``weights @ x = base - factor * P``.

    P is the sum over the bit planes p of x of ``2**p * popcount(weights ^ plane_p)``, the top plane of a
    signed type counted negative. It follows from ``w * b = (w > 0) - ((w > 0) ^ b)`` for a bit b.

    Attributes:
        weight_words: uint64 ``(groups, words, LANES)``.
        base: int64 ``(MH,)``.
        factor: 2 for BIPOLAR inputs, whose bit b means ``2 * b - 1``; else 1.
    """

    weight_words: npt.NDArray[np.uint64]
    base: IntArray
    factor: int

    @classmethod
    def of(cls, node: Mvau) -> BitProduct:
        """Describe the product of a node with BIPOLAR weights."""
        positive = np.count_nonzero(node.weights > 0, axis=1).astype(np.int64)
        if node.in_type.is_bipolar:
            base, factor = np.full(node.mh, node.mw, np.int64), 2
        else:
            base, factor = positive * all_planes(node.in_type), 1
        return cls(weight_words=pack_weights(node.weights > 0), base=base, factor=factor)


def all_planes(stream: DataType) -> int:
    """Return what all bit planes of an integer weigh together: 2**n - 1, or -1 with a negative top one."""
    return -1 if stream.is_signed else stream.maximum


def popcount_limits(node: Mvau, bits: BitProduct, thresholds: Thresholds) -> IntArray:
    """Return thresholds in the domain of P: a level counts where ``P <= limit``.

    Returns:
        int64 ``(levels, groups * LANES)``; no level counts in the lanes past the last neuron.
    """
    steps = np.clip(np.broadcast_to(thresholds.steps, (node.mh, thresholds.steps.shape[1])), -_FAR, _FAR)
    limits = (bits.base[:, None] - steps) // bits.factor
    return np.ascontiguousarray(_pad_lanes(limits, _NEVER).T)


def popcount_to_output(node: Mvau, bits: BitProduct) -> tuple[IntArray, IntArray]:
    """Return offset and factor, int64 ``(groups * LANES,)``: the output is ``offset - factor * P``.

    They may wrap where the output itself does not; the native code computes in the same modulus.
    """
    scale = np.ones(node.mh, np.int64) if node.scale is None else node.scale
    bias = np.zeros(node.mh, np.int64) if node.bias is None else node.bias
    return _pad_lanes(bits.base * scale + bias, 0), _pad_lanes(bits.factor * scale, 0)


def sum_to_output(node: Mvau) -> tuple[IntArray, IntArray]:
    """Return offset and factor, int64 ``(MH,)``: the output is ``offset + factor * (weights @ x)``."""
    scale = np.ones(node.mh, np.int64) if node.scale is None else node.scale
    bias = np.zeros(node.mh, np.int64) if node.bias is None else node.bias
    return bias, scale


def threshold_rows(thresholds: Thresholds, channels: int) -> IntArray:
    """Return thresholds as int64 ``(levels, channels)``."""
    steps = np.broadcast_to(thresholds.steps, (channels, thresholds.steps.shape[1]))
    return np.ascontiguousarray(steps.T)


def negative_limits(thresholds: Thresholds, channels: int) -> IntArray:
    """Return thresholds as limits of the negated value: a level counts where ``-value <= limit``.

    Returns:
        int64 ``(levels, channels rounded up to LANES)``; no level counts in the lanes past the last channel.
    """
    steps = np.broadcast_to(thresholds.steps, (channels, thresholds.steps.shape[1]))
    return np.ascontiguousarray(_pad_lanes(-np.clip(steps, -_WIDE, _WIDE), _NEVER).T)


def pack_bytes_weights(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Arrange ``(MH, MW)`` so that four columns of `BYTE_LANES` neurons lie together, 0 elsewhere."""
    groups, quads = -(-weights.shape[0] // BYTE_LANES), -(-weights.shape[1] // 4)
    padded = np.zeros((groups * BYTE_LANES, quads * 4), np.int8)
    padded[: weights.shape[0], : weights.shape[1]] = weights
    return np.ascontiguousarray(padded.reshape(groups, BYTE_LANES, quads, 4).transpose(0, 2, 1, 3))


def byte_shift(stream: DataType) -> int:
    """Return what is added to a value to make it a byte."""
    return 128 if stream.is_signed else 0


def fits_bytes(node: Mvau) -> bool:
    """Whether a node's inputs are bytes, shifted if need be, and its sums over them exact in 32 bits."""
    shift = byte_shift(node.in_type)
    is_byte = node.in_type.minimum + shift >= 0 and node.in_type.maximum + shift <= 255
    return is_byte and node.mw * 255 * 128 < 1 << 31


def byte_sum_limits(node: Mvau, thresholds: Thresholds) -> npt.NDArray[np.int32]:
    """Return thresholds on sums over bytes, int32 ``(levels, groups * BYTE_LANES)``."""
    ends = np.iinfo(np.int32)
    steps = np.broadcast_to(thresholds.steps, (node.mh, thresholds.steps.shape[1]))
    limits = np.clip(np.clip(steps, -_FAR, _FAR) + _byte_excess(node)[:, None], ends.min, ends.max)
    padding = ((0, -node.mh % BYTE_LANES), (0, 0))
    return np.ascontiguousarray(np.pad(limits, padding, constant_values=ends.max).T.astype(np.int32))


def byte_sum_to_output(node: Mvau) -> tuple[IntArray, IntArray]:
    """Return offset and factor, int64 ``(MH,)``: the output is ``offset + factor * sum over bytes``."""
    offset, factor = sum_to_output(node)
    return offset - factor * _byte_excess(node), factor


def _byte_excess(node: Mvau) -> IntArray:
    return byte_shift(node.in_type) * node.weights.sum(axis=1, dtype=np.int64)


def byte_limits(
    thresholds: Thresholds, columns: int, channels: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64], bool]:
    """Return a single threshold on uint8 values: fires where ``value >= limit`` and the mask has a 1.

    Args:
        thresholds: One level; the value of the threshold is arbitrary.
        columns: Elements of a packed row, a multiple of ``channels``.
        channels: Channels of the stream.

    Returns:
        Limits, uint8 ``(columns,)``; mask, uint64 ``(words,)``, 0 past the last column; and whether every
        column can fire.
    """
    steps = threshold_rows(thresholds, channels)[0]
    per_column = np.tile(steps, columns // channels)
    can_fire = per_column <= np.iinfo(np.uint8).max
    return np.clip(per_column, 0, 255).astype(np.uint8), pack_words(can_fire[None])[0], bool(can_fire.all())


def pack_weights(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Pack ``(MH, MW)`` bits so that word k of `LANES` neurons lies together."""
    words = pack_words(bits)
    groups = -(-len(words) // LANES)
    padded = np.zeros((groups * LANES, words.shape[1]), np.uint64)
    padded[: len(words)] = words
    return np.ascontiguousarray(padded.reshape(groups, LANES, -1).transpose(0, 2, 1))


def pad_words(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Extend the last axis to whole words."""
    return np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % WORD_BITS)])


def pack_words(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Pack ``(rows, columns)`` bits into ``(rows, words)``, element 0 in the lowest bit."""
    padded = np.zeros((len(bits), words_for(bits.shape[1]) * WORD_BITS), np.bool_)
    padded[:, : bits.shape[1]] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def _pad_lanes(values: IntArray, fill: int) -> IntArray:
    """Extend the first axis to a multiple of `LANES`."""
    padding = [(0, -len(values) % LANES)] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, padding, constant_values=fill)


def weight_place(node: Mvau, row: int, column: int) -> tuple[int, int]:
    """Return where the bit of a ±1 weight lies in `BitProduct.weight_words` of all groups: byte and bit."""
    neurons, words = node.mh // node.groups, words_for(node.mw)
    group, neuron = divmod(row, neurons)
    tile = group * -(-neurons // LANES) + neuron // LANES
    word = (tile * words + column // WORD_BITS) * LANES + neuron % LANES
    return 8 * word + column % WORD_BITS // 8, column % 8
