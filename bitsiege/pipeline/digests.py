"""Hashes that decide whether a step's result can be reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Sources that can change a result; documents and shipped weights are no code.
_SOURCE_SUFFIXES = frozenset({".py", ".sv", ".svh", ".cpp", ".hpp", ".h", ".c", ".vlt"})
_CHUNK_BYTES = 1 << 20


def json_digest(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object in canonical form, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def tree_digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file under ``directory``, by its relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): file_digest(path) for path in files}


@cache
def code_digest(package: str) -> str:
    """Return the SHA-256 of the sources of one of our packages, in hex.

    Raises:
        ValueError: There is no such package.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package} is not a package")
    root = Path(next(iter(spec.submodule_search_locations)))
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in _SOURCE_SUFFIXES and path.is_file():
            digest.update(f"{path.relative_to(root).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()


@cache
def distribution_version(name: str) -> str:
    """Return the installed version of a distribution, or ``missing``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
