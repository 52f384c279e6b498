"""Findings in files of their own: recognised by their ``kind``, checked field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bitsiege.pipeline.store import read_json
from bitsiege.report.findingmodels import Certification, Faults, Finding, Findings, Masking
from export.errors import InputError

_KINDS: Mapping[str, type[Finding]] = {
    "masking": Masking,
    "verify": Certification,
    "faults": Faults,
}
_FIELDS: Mapping[type[Finding], str] = {kind: name for name, kind in _KINDS.items()}


def find_findings(directory: Path, given: Iterable[Path] = ()) -> Findings:
    """Read the findings in a folder, those of them that are some, and those that are given.

    Args:
        directory: Its .json files are looked at, not those of folders in it.
        given: Files that must be findings.

    Raises:
        InputError: A given file is no finding, or a finding has a field that doesn't fit; the message has
            the path of the field.
    """
    paths = {path.resolve(): True for path in given}
    for path in sorted(directory.glob("*.json")):
        paths.setdefault(path.resolve(), False)
    found: dict[str, list[Finding]] = {}
    for path, required in sorted(paths.items()):
        finding = read_finding(path, required=required)
        if finding is not None:
            found.setdefault(_FIELDS[type(finding)], []).append(finding)
    return Findings.model_validate({name: tuple(items) for name, items in found.items()})


def read_finding(path: Path, *, required: bool = True) -> Finding | None:
    """Read one file.

    Args:
        path: The file.
        required: Whether a file of another kind is an error; it gives None otherwise.

    Raises:
        InputError: As `find_findings` says.
    """
    if not required:
        try:
            document: Any = read_json(path)
        except InputError:
            return None
    else:
        document = read_json(path)
    kind = kind_of(document)
    if kind is None:
        if required:
            raise InputError(
                f"{path} is no finding that a report can show",
                hint=f"give what one of these commands wrote: {', '.join(_KINDS)}",
            )
        return None
    try:
        return _KINDS[kind].model_validate({**document, "file": path.name})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}: {place}: {first['msg']}", hint=f"write the {kind} file again with this program"
        ) from error


def kind_of(document: object) -> str | None:
    """Return which finding a JSON document is, or None."""
    if not isinstance(document, dict):
        return None
    kind = document.get("kind")
    return kind if isinstance(kind, str) and kind in _KINDS else None
