"""What targets answer to the originals: computed once for each model and shard, and used by every attack."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from export.errors import InputError
from hw.target import Inference

CLEAN = "clean.npz"


def clean_bytes(answers: Mapping[str, Inference]) -> bytes:
    """Return answers by target as the bytes of an .npz file; equal answers give equal bytes."""
    arrays: dict[str, Any] = {}
    for name, inference in answers.items():
        arrays[f"{name}.logits"] = inference.logits
        if inference.cycles is not None:
            arrays[f"{name}.cycles"] = inference.cycles
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def read_clean(data: bytes) -> dict[str, Inference]:
    """Read what `clean_bytes` wrote.

    Raises:
        InputError: The bytes are damaged.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"the answers to the originals are damaged: {error}") from error
    names = [name.removesuffix(".logits") for name in arrays if name.endswith(".logits")]
    return {
        name: Inference(logits=arrays[f"{name}.logits"], cycles=arrays.get(f"{name}.cycles"))
        for name in names
    }
