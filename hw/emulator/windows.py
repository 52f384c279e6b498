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
        products: The product with the base of each class of border; weights in the windows' order of words.
        classes: Class of each window, int64 ``(windows,)``.
    """

    image_words: int
    starts: IntArray
    segments: IntArray
    segment_words: int
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
        products, classes = _border_products(node, swg, in_shape, padding, down, across)
        return cls(
            image_words=height * width * words,
            starts=((down[:, None] * width + across) * words).ravel().astype(np.int64),
            segments=np.arange(swg.kernel[0], dtype=np.int64) * width * words,
            segment_words=swg.kernel[1] * words,
            products=products,
            classes=classes,
        )


def _border_products(
    node: Mvau, swg: Swg, in_shape: Shape, padding: FmPadding | None, down: IntArray, across: IntArray
) -> tuple[list[BitProduct], IntArray]:
    """Return a product for each way in which a window lies on the border, and which one each window has."""
    taps = node.weights.reshape(node.mh, *swg.kernel, in_shape[2])
    weight_words = constants.pack_weights(constants.pad_words(taps > 0).reshape(node.mh, -1))
    base = np.full(node.mh, node.mw, np.int64)
    plain = BitProduct(weight_words=weight_words, base=base, factor=2)
    if padding is None:
        return [plain], np.zeros(len(down) * len(across), np.int64)
    top, left, bottom, right = padding.pads
    rows, row_class = _inside(down, swg.kernel[0], top, in_shape[0] - bottom)
    columns, column_class = _inside(across, swg.kernel[1], left, in_shape[1] - right)
    sums = taps.sum(axis=3, dtype=np.int64)
    # By class of row and column: the sum of the weights on real pixels.
    inside = np.einsum("nyx,ry,cx->rcn", sums, rows, columns).reshape(-1, node.mh)
    outside = sums.sum(axis=(1, 2)) - inside
    products = [replace(plain, base=base + shift) for shift in outside]
    return products, (row_class[:, None] * len(columns) + column_class).ravel().astype(np.int64)


def _inside(starts: IntArray, size: int, low: int, high: int) -> tuple[IntArray, npt.NDArray[np.intp]]:
    """Return the distinct patterns of which taps lie in ``[low, high)``, and the pattern of each start."""
    positions = starts[:, None] + np.arange(size)
    patterns, index = np.unique((positions >= low) & (positions < high), axis=0, return_inverse=True)
    return patterns.astype(np.int64), index.reshape(-1)
