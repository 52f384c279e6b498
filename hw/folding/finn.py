"""FINN's folding JSON: ``{"Defaults": {}, "MVAU_hls_0": {"PE": 16, "SIMD": 49}, ...}``.

FINN numbers its nodes by operator, and the name of the operator depends on its version (``MVAU_hls``,
``MVAU_rtl``, ``MatrixVectorActivation``, ``StreamingFCLayer_Batch``), so the MVAU entries stand for the
layers in order; a file with nothing but defaults folds every layer alike. PE, SIMD and ram_style are read.
Entries of other operators are ignored, for their parallelism follows from the layers', and so are other
attributes; `FinnFolding.notes` says which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from export.errors import InputError
from export.files import atomic_file
from export.graph import DataflowGraph
from hw.folding.model import Folding, LayerFolding

_MVAU = re.compile(r"(MVAU(?:_hls|_rtl)?|MatrixVectorActivation|StreamingFCLayer_Batch)_([0-9]+)")
_Entries = dict[str, dict[str, Any]]
_READ = ("PE", "SIMD", "ram_style")
_DEFAULTS = "Defaults"
_SHOWN_NAMES = 4
# UltraRAM is block RAM's larger kin; the generated hardware names none.
_OTHER_STYLES: Mapping[str, str] = {"ultra": "block"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinnFolding:
    """What a folding file says.

    Attributes:
        folding: PE, SIMD and ram_style of every layer.
        notes: What else the file says and is not followed, one sentence each.
    """

    folding: Folding
    notes: tuple[str, ...]


def read_finn_folding(path: Path, graph: DataflowGraph) -> Folding:
    """Read a folding in FINN's form; as `read_finn_file`, without the notes."""
    return read_finn_file(path, graph).folding


def read_finn_file(path: Path, graph: DataflowGraph) -> FinnFolding:
    """Read a folding in FINN's form, and note what of the file is not followed.

    Args:
        path: The JSON file.
        graph: The network; the i-th MVAU entry is the folding of its i-th Mvau.

    Raises:
        InputError: The file is not such a JSON, has another number of layers, or holds a factor that is not
            legal; the message names the entry, and the hint the legal values.
    """
    entries = _read_entries(path)
    layers = _layer_entries(entries)
    nodes = list(graph.mvaus)
    if not layers and {"PE", "SIMD"} <= set(entries.get(_DEFAULTS, {})):
        layers = [f"MVAU_hls_{index}" for index in range(len(nodes))]
        entries |= {name: {} for name in layers}
    if len(layers) != len(nodes):
        raise InputError(
            f"{path} folds {len(layers)} MVAUs, the network has {len(nodes)}",
            hint="one entry such as MVAU_hls_0 for each layer, in order",
        )
    folding = Folding(
        {
            node.name: LayerFolding(
                _factor(path, entries, entry, "PE"),
                _factor(path, entries, entry, "SIMD"),
                _style(entries, entry),
            )
            for node, entry in zip(nodes, layers, strict=True)
        }
    )
    try:
        folding.validate(graph)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint, **error.context) from error
    return FinnFolding(folding=folding, notes=_notes(entries, layers))


def write_finn_folding(folding: Folding, graph: DataflowGraph, path: Path) -> None:
    """Write a folding in FINN's form, which `read_finn_folding` and FINN's builder read.

    Raises:
        InputError: The folding doesn't fit the graph, or the file can't be written.
    """
    folding.validate(graph)
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(finn_entries(folding, graph), indent=2) + "\n", encoding="utf-8")


def finn_entries(folding: Folding, graph: DataflowGraph) -> _Entries:
    """Return the folding as FINN's JSON object; ±1 layers are ``MVAU_hls``, as FINN has no RTL for them."""
    entries: _Entries = {_DEFAULTS: {}}
    for index, node in enumerate(graph.mvaus):
        layer = folding[node.name]
        style = {} if layer.ram_style == "auto" else {"ram_style": layer.ram_style}
        entries[f"MVAU_hls_{index}"] = {"PE": layer.pe, "SIMD": layer.simd, **style}
    return entries


def _read_entries(path: Path) -> _Entries:
    try:
        document: object = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_duplicates)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a folding JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is not a folding JSON: it must be an object")
    entries = cast("dict[str, Any]", document)
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise InputError(f'{path}: {name} must be an object such as {{"PE": 1, "SIMD": 1}}')
    return entries


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"{repeated!r} stands there twice")
    return dict(pairs)


def _layer_entries(entries: Mapping[str, object]) -> list[str]:
    """Names of the MVAU entries in the order of the layers.

    FINN numbers nodes of one operator along the graph, so the number decides even in a file whose keys were
    sorted. Numbers of different operators (``MVAU_hls_0``, ``MVAU_rtl_0``) say nothing of each other; there
    the order in the file decides.
    """
    matches = [match for name in entries if (match := _MVAU.fullmatch(name))]
    if len({match[1] for match in matches}) == 1:
        matches.sort(key=lambda match: int(match[2]))
    return [match[0] for match in matches]


def _notes(entries: _Entries, layers: Sequence[str]) -> tuple[str, ...]:
    """Say what is not followed: other operators, other attributes, and styles that become another one."""
    notes: list[str] = []
    if others := [name for name in entries if name not in (*layers, _DEFAULTS)]:
        notes.append(f"folding entries of other operators are not followed, layers decide: {_some(others)}")
    attributes = {key for name in (*layers, _DEFAULTS) for key in entries.get(name, {})} - set(_READ)
    if attributes:
        notes.append(f"folding attributes that are not followed: {_some(sorted(attributes))}")
    for style, other in _OTHER_STYLES.items():
        if found := [name for name in layers if _attribute(entries, name, "ram_style") == style]:
            notes.append(f"ram_style {style} is taken as {other}: {_some(found)}")
    return tuple(notes)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _style(entries: _Entries, name: str) -> str:
    style = str(_attribute(entries, name, "ram_style") or "auto")
    return _OTHER_STYLES.get(style, style)


def _factor(path: Path, entries: _Entries, name: str, label: str) -> int:
    """Read PE or SIMD of one entry."""
    value = _attribute(entries, name, label)
    if not isinstance(value, int) or isinstance(value, bool):
        found = f"is {value!r}" if value is not None else "is missing"
        raise InputError(f"{path}: {label} of {name} {found}", hint="a positive integer", node=name)
    return value


def _attribute(entries: _Entries, name: str, label: str) -> object:
    """Read a value of one entry, or its default, or None: ``"Defaults": {"PE": [4, ["MVAU_hls"]]}``."""
    value: object = entries[name].get(label)
    if value is None:
        match entries.get(_DEFAULTS, {}).get(label):
            case [default, [*operators]] if "all" in operators or name.rpartition("_")[0] in operators:
                value = default
            case _:
                pass
    return value
