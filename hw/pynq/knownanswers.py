"""Images with their right logits, by which freshly loaded hardware is tested."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .bus import ByteArray
from .errors import BadInputError
from .manifest import Manifest

FILE_NAME = "known_answers.npz"


@dataclass(frozen=True, eq=False)
class KnownAnswers:
    """Images and their logits.

    Attributes:
        images: uint8 ``(N, H, W, C)``.
        logits: int64 ``(N, K)``.
        seed: Of drawn weights, or None where none are drawn.
        first_frame: Index of the first image's frame.
    """

    images: ByteArray
    logits: npt.NDArray[np.int64]
    seed: int | None = None
    first_frame: int = 0


def read_known_answers(path: Path, manifest: Manifest) -> KnownAnswers:
    """Read ``known_answers.npz``.

    Raises:
        BadInputError: It can't be read, or doesn't fit the overlay.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {str(name): file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BadInputError(f"can't read {path}: {error}", hint="copy the whole folder again") from error
    images, logits = arrays.get("images"), arrays.get("logits")
    if images is None or images.dtype != np.uint8 or images.shape[1:] != manifest.input_shape:
        raise BadInputError(f"{path}: images must be uint8 (N, {', '.join(map(str, manifest.input_shape))})")
    if logits is None or logits.dtype.kind != "i" or logits.shape != (len(images), manifest.classes):
        raise BadInputError(f"{path}: logits must be whole numbers ({len(images)}, {manifest.classes})")
    if not len(images) or (manifest.draws and "seed" not in arrays):
        raise BadInputError(f"{path} holds no images, or no seed for weights that are drawn")
    return KnownAnswers(
        images=images,
        logits=logits.astype(np.int64),
        seed=int(arrays["seed"]) if manifest.draws else None,
        first_frame=int(arrays["first_frame"]) if "first_frame" in arrays else 0,
    )
