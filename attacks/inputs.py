"""Checks of what callers hand to an attack."""

from __future__ import annotations

import math

import numpy as np

from export.errors import InputError
from export.graph import IntArray
from hw.target import ImageArray


def require(condition: bool, message: str, *, hint: str = "") -> None:
    """Raise `InputError` unless the condition holds."""
    if not condition:
        raise InputError(message, hint=hint)


def require_count(what: str, value: object, *, least: int) -> None:
    """Raise `InputError` unless ``value`` is an integer of at least ``least``."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(good, f"{what} must be an integer of at least {least}, not {value!r}")


def grid_radius(eps: float) -> int:
    """Return the budget in whole steps of the 8-bit grid; 1e-9 absorbs the rounding of ``k / 255``."""
    return math.floor(255 * eps + 1e-9)


def checked_eps(eps: object) -> float:
    """Return a budget that is a number in [0, 1] and reaches the grid.

    Raises:
        InputError: No such number, or one in between 0 and the first step of the grid.
    """
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps <= 1:
        raise InputError(f"eps must be a number from 0 to 1, not {eps!r}", hint="8/255 is 0.03137")
    require(
        eps == 0 or grid_radius(eps) > 0,
        f"eps {eps} changes no pixel of an 8-bit image",
        hint="the smallest budget is 1/255 = 0.003922",
    )
    return float(eps)


def check_batch(images: object, labels: object) -> tuple[ImageArray, IntArray]:
    """Return images as contiguous uint8 NHWC and labels as int64.

    Raises:
        InputError: Wrong type, dtype or shape, no images, or not one label an image.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(
            f"images must be a uint8 array (N, H, W, C), not {found}",
            hint="round(255 * x) of a float image in [0, 1]",
        )
    require(images.size > 0, f"there is nothing to attack in images of shape {images.shape}")
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        found = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
        raise InputError(f"labels must be an integer array ({len(images)},), not {found}")
    return np.ascontiguousarray(images), labels.astype(np.int64)


def check_classes(what: str, values: IntArray, classes: int) -> None:
    """Raise `InputError` naming the first image whose class is out of range."""
    wrong = (values < 0) | (values >= classes)
    if np.any(wrong):
        image = int(np.argmax(wrong))
        raise InputError(
            f"{what} {values[image]} of image {image} is not a class from 0 to {classes - 1}", image=image
        )
