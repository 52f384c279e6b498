"""Trained networks that ship with the package; each file says how it was made."""

from __future__ import annotations

import re
from pathlib import Path

from export.errors import InputError

_FOLDER = Path(__file__).parent
# The paper's networks in their published form have float layers.
_PUBLISHED = re.compile(r"paper-[abcs]-")


def shipped() -> tuple[str, ...]:
    """Return the names of the networks, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.safetensors")))


def shipped_for_hardware() -> tuple[str, ...]:
    """Return the names of those with an exact integer form, in alphabetical order."""
    return tuple(name for name in shipped() if not _PUBLISHED.match(name))


def shipped_path(name: str) -> Path:
    """Return a network's checkpoint; `quant_models.checkpoint.load_checkpoint` reads it.

    Raises:
        InputError: No network has that name.
    """
    if name not in shipped():
        raise InputError(
            f"no network {name!r} ships with this package", hint=f"there are: {', '.join(shipped())}"
        )
    return _FOLDER / f"{name}.safetensors"
