"""The BUILD directory: a compiled network with everything that its targets need.

``graph.safetensors``, ``folding.json`` (FINN's form), ``build.json`` (clock, board, hashes), ``rtl/`` (the
generated SystemVerilog and its memories), and where they are known ``model.onnx`` and
``checkpoint.safetensors``, so that every target of the network can be opened from this one place.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from export.errors import InputError
from export.files import atomic_directory
from export.graph import DataflowGraph
from export.graphfile import graph_hash, load_graph, save_graph
from hw.folding import Folding, read_finn_folding, write_finn_folding
from hw.rtlgen import generate_rtl

FORMAT_VERSION = 1
_GRAPH = "graph.safetensors"
_FOLDING = "folding.json"
_ABOUT = "build.json"
_MODEL = "model.onnx"
_CHECKPOINT = "checkpoint.safetensors"
_RTL = "rtl"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Build:
    """A loaded BUILD directory.

    Attributes:
        path: The directory.
        graph: The network.
        graph_hash: SHA-256 of what it computes; attacks and reports name a network by it.
        folding: Parallelism of each layer.
        clock_mhz: Clock that it was compiled for [MHz].
        board: Name of the board that it was compiled for, or None.
        model_path: The QONNX file inside the directory, or None.
        checkpoint_path: The trained model inside the directory, or None.
    """

    path: Path
    graph: DataflowGraph
    graph_hash: str
    folding: Folding
    clock_mhz: float
    board: str | None
    model_path: Path | None
    checkpoint_path: Path | None

    @property
    def rtl_path(self) -> Path:
        """The directory of the generated SystemVerilog."""
        return self.path / _RTL


def write_build(
    path: Path,
    *,
    graph: DataflowGraph,
    folding: Folding,
    clock_mhz: float,
    board: str | None = None,
    model: Path | None = None,
    checkpoint: Path | None = None,
) -> Build:
    """Write a BUILD directory as a whole, or nothing of it.

    Args:
        path: The directory; an older build of that name is replaced.
        graph: The network.
        folding: Parallelism of each layer.
        clock_mhz: Clock frequency [MHz].
        board: Name of a board, if it is meant for one.
        model: QONNX file to copy in.
        checkpoint: Trained model to copy in.

    Raises:
        InputError: The folding doesn't fit, hardware can't compute the network, a file can't be read or
            written, or ``path`` is a directory that holds something else than a build.
    """
    folding.validate(graph)
    if not (math.isfinite(clock_mhz) and clock_mhz > 0):
        raise InputError(f"the clock must be a number of MHz above 0, not {clock_mhz}")
    _refuse_foreign(path)
    with atomic_directory(path) as directory:
        save_graph(graph, directory / _GRAPH)
        write_finn_folding(folding, graph, directory / _FOLDING)
        generate_rtl(graph, folding, directory / _RTL)
        about: dict[str, Any] = {
            "version": FORMAT_VERSION,
            "graph_hash": graph_hash(graph),
            "clock_mhz": clock_mhz,
            "board": board,
            "files": {
                name: _copy(source, directory / name)
                for name, source in ((_MODEL, model), (_CHECKPOINT, checkpoint))
                if source is not None
            },
        }
        text = json.dumps(about, indent=2, sort_keys=True) + "\n"
        (directory / _ABOUT).write_text(text, encoding="utf-8")
    return load_build(path)


def load_build(path: Path) -> Build:
    """Read a BUILD directory.

    Raises:
        InputError: It is no build, of another version, or one of its files is missing or was changed after it
            was compiled.
    """
    about = _read_about(path)
    graph = load_graph(path / _GRAPH)
    actual = graph_hash(graph)
    if actual != about["graph_hash"]:
        raise InputError(
            f"{path / _GRAPH} is not the network that was compiled here: its hash is {actual[:12]}, "
            f"{_ABOUT} says {about['graph_hash'][:12]}",
            hint="compile the network again",
            path=str(path),
        )
    return Build(
        path=path,
        graph=graph,
        graph_hash=actual,
        folding=read_finn_folding(path / _FOLDING, graph),
        clock_mhz=float(about["clock_mhz"]),
        board=about["board"],
        model_path=_checked_file(path, about, _MODEL),
        checkpoint_path=_checked_file(path, about, _CHECKPOINT),
    )


def _read_about(path: Path) -> dict[str, Any]:
    hint = "make one with bitsiege compile"
    try:
        document: object = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} is not a build: can't read {_ABOUT}: {error.strerror or error}", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path / _ABOUT} is damaged: {error}", hint=hint) from error
    match document:
        case {"version": int(version)} if version != FORMAT_VERSION:
            raise InputError(
                f"{path}: build format {version}, this program reads {FORMAT_VERSION}",
                hint="compile the network again with this program",
            )
        case {
            "version": int(),
            "graph_hash": str(),
            "clock_mhz": int() | float(),
            "board": str() | None,
            "files": dict(),
        }:
            return cast("dict[str, Any]", document)
        case _:
            raise InputError(f"{path / _ABOUT} is damaged: it lacks fields", hint=hint)


def _checked_file(path: Path, about: dict[str, Any], name: str) -> Path | None:
    """Return the path of an optional file after comparing its hash; None where the build has none."""
    expected = about["files"].get(name)
    if expected is None:
        return None
    file = path / name
    try:
        actual = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"can't read {file}: {error.strerror or error}", path=str(file)) from error
    if actual != expected:
        raise InputError(
            f"{file} was changed after the network was compiled", hint="compile it again", path=str(file)
        )
    return file


def _copy(source: Path, destination: Path) -> str:
    """Copy a file into the build; return its SHA-256 in hex."""
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {source}: {error.strerror or error}", path=str(source)) from error
    destination.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _refuse_foreign(path: Path) -> None:
    """Refuse to replace a directory that was not made by `write_build`: all of it would be deleted."""
    if path.is_file():
        raise InputError(f"can't write the build {path}: a file of that name exists")
    if path.is_dir() and any(path.iterdir()) and not (path / _ABOUT).is_file():
        raise InputError(
            f"{path} holds something else than a build, and would be replaced",
            hint="name a new or empty directory",
            path=str(path),
        )
