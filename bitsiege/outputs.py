"""Outputs that can't be written are refused before the work, not after it."""

from __future__ import annotations

import os
from pathlib import Path

from export.errors import InputError


def check_output(path: Path, *others: Path | None) -> None:
    """Check that a file of that name can probably be written; disk space remains to be seen.

    Args:
        path: The output.
        others: Inputs and other outputs of the same command, which it must not replace.

    Raises:
        InputError: One of the others, a directory or a device has the name, or the nearest existing folder
            can't be written.
    """
    hint = "choose another output path"
    if any(other is not None and other.resolve() == path.resolve() for other in others):
        raise InputError(f"{path} is named twice; writing it would destroy what is in it", hint=hint)
    if path.is_dir():
        raise InputError(f"can't write {path}: it is a directory", hint=hint)
    if path.exists() and not path.is_file():
        raise InputError(f"can't write {path}: it is not a regular file", hint=hint)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"can't write {path}: {folder} is not a directory", hint=hint)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"can't write {path}: {folder} can't be written to", hint=hint)
