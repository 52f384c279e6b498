"""Neighbourhoods of pixels: the fields of their native steps, and ±1 products that read windows in place.

A padded position counts for nothing in a sum. The packed feature map holds it as -1 instead, and the limits
of the windows that reach over the border make up for it: they are shifted by the sum of the weights there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from export.graph import FmPadding, IntArray, Mvau, Pool, Swg
from hw.emulator import constants
from hw.emulator.constants import BitProduct
from hw.emulator.drawn import drawn_product

Shape = tuple[int, ...]


def move_fields(node: FmPadding | Swg | Pool, in_shape: Shape, out_shape: Shape) -> dict[str, int]:
    """Return the fields of a step that say where its pixels come from."""
    fields = {
        "height": in_shape[0],
        "width": in_shape[1],
        "out_height": out_shape[0],
        "out_width": out_shape[1],
    }
    if isinstance(node, FmPadding):
        return fields | {"top": node.pads[0], "left": node.pads[1]}
    return fields | {
        "kernel_height": node.kernel[0],
        "kernel_width": node.kernel[1],
        "stride_height": node.stride[0],
        "stride_width": node.stride[1],
        "groups": node.groups if isinstance(node, Swg) else 1,
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BitWindows:
    """The windows of a packed ±1 feature map, one word group a pixel.

    Attributes:
        image_words: Words of one image.
        starts: First word of each window in its image, int64 ``(windows,)``.
        segments: Where each row of a window begins, counted from its start, int64 ``(kernel rows,)``.
        segment_words: Words of one row of a window.
        outside: By class of border, the taps of a window that are on the padding, bool ``(classes, taps)``.
        products: The product with the base of each class of border; weights in the windows' order of words.
        classes: Class of each window, int64 ``(windows,)``.
    """

    image_words: int
    starts: IntArray
    segments: IntArray
    segment_words: int
    outside: npt.NDArray[np.bool_]
    products: list[BitProduct]
    classes: IntArray

    @classmethod
    def of(cls, node: Mvau, swg: Swg, in_shape: Shape, padding: FmPadding | None) -> BitWindows:
        """Describe the windows that ``swg`` takes from a map of ``in_shape``, and the product on them.

        Args:
            node: Reads ``swg``; has BIPOLAR weights.
            swg: Reads a BIPOLAR stream, or what ``padding`` makes of one.
            in_shape: What ``swg`` reads.
            padding: Zeros that the map holds as -1; None if it has none.
        """
        height, width, channels = in_shape
        words = constants.words_for(channels)
        down = np.arange(0, height - swg.kernel[0] + 1, swg.stride[0])
        across = np.arange(0, width - swg.kernel[1] + 1, swg.stride[1])
        outside, classes = _border(swg, in_shape, padding, down, across)
        return cls(
            image_words=height * width * words,
            starts=((down[:, None] * width + across) * words).ravel().astype(np.int64),
            segments=np.arange(swg.kernel[0], dtype=np.int64) * width * words,
            segment_words=swg.kernel[1] * words,
            outside=outside,
            products=_products(node, outside, channels),
            classes=classes,
        )


def _products(node: Mvau, outside: npt.NDArray[np.bool_], channels: int) -> list[BitProduct]:
    """Return a product for each class of border; of drawn weights, as if all were -1."""
    if node.draw is not None:
        shifts = np.broadcast_to(-channels * outside.sum(axis=1)[:, None], (len(outside), node.mh))
        plain = drawn_product(node) if node.in_type.is_bipolar else replace(drawn_product(node), factor=2)
    else:
        taps = node.weights.reshape(node.mh, outside.shape[1], channels)
        shifts = outside.astype(np.int64) @ taps.sum(axis=2, dtype=np.int64).T
        weight_words = constants.pack_weights(constants.pad_words(taps > 0).reshape(node.mh, -1))
        plain = BitProduct(weight_words=weight_words, base=np.zeros(node.mh, np.int64), factor=2)
    return [replace(plain, base=node.mw + shift) for shift in shifts]


def _border(
    swg: Swg, in_shape: Shape, padding: FmPadding | None, down: IntArray, across: IntArray
) -> tuple[npt.NDArray[np.bool_], IntArray]:
    """Return the taps on the padding for each way in which a window lies, and which one each window has."""
    if padding is None:
        return np.zeros((1, swg.kernel[0] * swg.kernel[1]), np.bool_), np.zeros(
            len(down) * len(across), np.int64
        )
    top, left, bottom, right = padding.pads
    rows, row_class = _inside(down, swg.kernel[0], top, in_shape[0] - bottom)
    columns, column_class = _inside(across, swg.kernel[1], left, in_shape[1] - right)
    inside = rows[:, None, :, None] & columns[None, :, None, :]
    classes = (row_class[:, None] * len(columns) + column_class).ravel().astype(np.int64)
    return ~inside.reshape(len(rows) * len(columns), -1), classes


def _inside(
    starts: IntArray, size: int, low: int, high: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Return the distinct patterns of which taps lie in ``[low, high)``, and the pattern of each start."""
    positions = starts[:, None] + np.arange(size)
    patterns, index = np.unique((positions >= low) & (positions < high), axis=0, return_inverse=True)
    return patterns, index.reshape(-1)
