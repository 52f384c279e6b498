"""Image and label files from outside: checked before they fill memory, and never executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import InputError
from export.graph import IntArray

_MAGIC = b"\x93NUMPY"
_FORMAT_ERRORS = (ValueError, EOFError, SyntaxError, TypeError, OverflowError, RecursionError, MemoryError)


def load_images(path: Path, input_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Open a .npy file of images; pixels stay on disk until they are used.

    Args:
        path: uint8 ``(N, H, W, C)``, as `numpy.save` writes it.
        input_shape: ``(H, W, C)`` of the network.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    array = _open(path)
    expected = ", ".join(map(str, input_shape))
    if array.dtype != np.uint8:
        raise InputError(
            f"{path}: images must be uint8, not {array.dtype}",
            hint="hardware sees 8-bit images: round(255 * x) of a float image in [0, 1]",
        )
    if array.ndim != 4 or array.shape[1:] != input_shape:
        raise InputError(
            f"{path}: images must have shape (N, {expected}), not {array.shape}",
            hint="NHWC order: images, height, width, channels",
        )
    return array


def load_labels(path: Path, *, count: int, classes: int) -> IntArray:
    """Read a .npy file of labels.

    Args:
        path: Any integer type, ``(count,)``.
        count: Number of images that they belong to.
        classes: Labels are below this.

    Returns:
        int64 ``(count,)``.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    array = _open(path)
    if array.dtype.kind not in "iu":
        raise InputError(f"{path}: labels must be integers, not {array.dtype}")
    if array.shape != (count,):
        raise InputError(f"{path}: {count} images need labels of shape ({count},), not {array.shape}")
    outside = (array < 0) | (array >= classes)
    if outside.any():
        image = int(outside.argmax())
        raise InputError(
            f"{path}: label {array[image]} of image {image} is out of range",
            hint=f"the network has {classes} classes: 0 to {classes - 1}",
        )
    return array.astype(np.int64)


def _open(path: Path) -> npt.NDArray[Any]:
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file")
    try:
        with path.open("rb") as handle:
            start = handle.read(len(_MAGIC))
        if start[:2] == b"PK":
            raise InputError(f"{path} is an .npz file", hint="save the one array as .npy with numpy.save")
        if start != _MAGIC:
            raise InputError(f"{path} is no .npy file", hint="write it with numpy.save")
        # A mapping holds no pixels in memory, and refuses arrays of Python objects.
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except _FORMAT_ERRORS as error:
        raise InputError(
            f"{path} is a damaged .npy file: {error}", hint="write it with numpy.save"
        ) from error
