"""Small files of the server's own state, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast


def write_bytes(path: Path, parts: Iterable[bytes | memoryview], *, keep: bool = False) -> None:
    """Write a file by way of another one beside it, readable by its owner only.

    Args:
        path: The file.
        parts: Its content.
        keep: Whether it must survive a power failure.

    Raises:
        OSError: It can't be written; what was there before still is.
    """
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            for part in parts:
                stream.write(part)
            if keep:
                stream.flush()
                os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write an object so that it survives a power failure.

    Raises:
        OSError: It can't be written.
    """
    write_bytes(path, [json.dumps(document, sort_keys=True).encode()], keep=True)


def read_json(path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote; an empty object where there is no file.

    Raises:
        ValueError: It is damaged.
        OSError: It can't be read.
    """
    try:
        document: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"{path} holds no object")
    return cast("dict[str, Any]", document)
