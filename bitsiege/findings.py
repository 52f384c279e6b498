"""What every file of findings begins with, so that a report knows what it is and about which network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hw.build import Build

_USUAL = "build"


def finding_header(kind: str, build: Build) -> dict[str, Any]:
    """Return the first fields of a file of findings.

    Args:
        kind: ``masking``, ``verify`` or ``faults``.
        build: The network.
    """
    return {"kind": kind, "model": model_name(build.path), "graph_hash": build.graph_hash}


def model_name(path: Path) -> str:
    """Return what people call the network of a build: its folder, or the one above a folder named build."""
    folder = path.resolve()
    return folder.parent.name if folder.name == _USUAL and folder.parent.name else folder.name
