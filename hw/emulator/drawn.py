"""Weights drawn anew for each frame: what the native generator needs to write them as the kernels read them.

A word holds 64 weights of a neuron, eight blocks of the generator. The limits and offsets of a fixed product
that depend on its weights are planned for none, and moved natively by the number of +1 in a set of words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.draws import BLOCK_BYTES
from export.graph import IntArray, Mvau
from hw.emulator import constants
from hw.emulator.constants import LANES, WORD_BITS, BitProduct
from hw.emulator.steps import PlanWriter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnWeights:
    """How words of drawn weights are made, for one group of neurons.

    Attributes:
        limits: uint8 ``(lane groups, words, LANES, 64)``: a weight is +1 where its byte is below.
        first_block: Block of a row that each word begins with, int64 ``(words,)``.
        row_blocks: Blocks of a row.
        sets: By class of rows, the words whose +1 weights move its limits; uint8 ``(classes, words)``.
        factor: By how much each moves them.
    """

    limits: npt.NDArray[np.uint8]
    first_block: IntArray
    row_blocks: int
    sets: npt.NDArray[np.uint8]
    factor: int

    @classmethod
    def of(cls, node: Mvau) -> DrawnWeights:
        """Describe plain rows of inputs."""
        words = constants.words_for(node.mw)
        in_sums = 0 if node.in_type.is_bipolar else 1
        return cls(
            limits=_byte_limits(node, 1),
            first_block=np.arange(words, dtype=np.int64) * (WORD_BITS // BLOCK_BYTES),
            row_blocks=-(-node.mw // BLOCK_BYTES),
            sets=np.ones((in_sums, words), np.uint8),
            factor=constants.all_planes(node.in_type),
        )

    @classmethod
    def of_windows(cls, node: Mvau, outside: npt.NDArray[np.bool_]) -> DrawnWeights:
        """Describe windows whose pixels begin with a word each.

        Args:
            node: The product; the channels of a pixel are a multiple of `BLOCK_BYTES`.
            outside: By class of windows, the taps that lie outside of the map, ``(classes, taps)``.
        """
        taps = outside.shape[1]
        channels = node.mw // taps
        blocks, words = channels // BLOCK_BYTES, constants.words_for(channels)
        in_pixel = np.arange(words, dtype=np.int64) * (WORD_BITS // BLOCK_BYTES)
        moves = outside.any()
        return cls(
            limits=_byte_limits(node, taps),
            first_block=(np.arange(taps, dtype=np.int64)[:, None] * blocks + in_pixel).ravel(),
            row_blocks=-(-node.mw // BLOCK_BYTES),
            sets=np.repeat(outside, words, axis=1).astype(np.uint8)[: len(outside) if moves else 0],
            factor=1,
        )

    def fields(self, writer: PlanWriter, node: Mvau) -> dict[str, int]:
        """Return the fields of the product's step, but for `limits`; ask for the memory that it needs."""
        lanes = self.limits.shape[0] * LANES
        rows = len(self.sets) * (1 if node.thresholds is None else node.thresholds.steps.shape[1])
        writer.need_scratch(8 * lanes * (len(self.first_block) + rows + 1))
        return {
            "is_drawn": 1,
            "layer": node.draw or 0,
            "row_blocks": self.row_blocks,
            "first_block": writer.constant(self.first_block),
            "ones_classes": len(self.sets),
            "ones_factor": self.factor,
            "ones_sets": writer.constant(self.sets),
        }


def drawn_product(node: Mvau) -> BitProduct:
    """Return the product of a node as if all weights were -1, which adds nothing to the base."""
    bipolar = node.in_type.is_bipolar
    base = np.full(node.mh, node.mw if bipolar else 0, np.int64)
    return BitProduct(weight_words=np.zeros((0, 0, LANES), np.uint64), base=base, factor=2 if bipolar else 1)


def _byte_limits(node: Mvau, taps: int) -> npt.NDArray[np.uint8]:
    """Return the limits of each byte, each tap's padded to whole words by limits that no byte is below."""
    means = (node.weights.astype(np.int16) + 128).astype(np.uint8).reshape(node.mh, taps, -1)
    padding = ((0, -node.mh % LANES), (0, 0), (0, -means.shape[2] % WORD_BITS))
    words = np.pad(means, padding).reshape(-(-node.mh // LANES), LANES, -1, WORD_BITS)
    return np.ascontiguousarray(words.transpose(0, 2, 1, 3))
