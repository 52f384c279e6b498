"""An overlay's folder for a board that isn't there: with a placeholder where no bitstream was built."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

from export.errors import InputError
from export.files import atomic_directory
from export.graph import DataflowGraph
from export.graphfile import graph_hash
from hw.boards import find_board
from hw.pynq import finn_settings
from hw.pynq.errors import DriverError
from hw.pynq.manifest import FILE_NAME, Manifest, read_manifest
from hw.pynqremote.bitfile import firmware_of, placeholder_bitstream
from hw.vivado.answers import known_answers
from hw.vivado.hwh import hwh_text
from hw.vivado.plan import plan_overlay
from hw.vivado.project import write_about


def open_folder(path: Path) -> Manifest:
    """Read an overlay's folder.

    Raises:
        InputError: It is none.
    """
    try:
        return read_manifest(path)
    except DriverError as error:
        raise InputError(error.message, hint=error.hint or "make one with bitsiege package") from error


def describe_overlay(
    graph: DataflowGraph, destination: Path, *, board: str = "Pynq-Z1", design_hash: str | None = None
) -> Manifest:
    """Write the folder of an overlay for an emulation alone: no hardware is generated.

    Args:
        graph: The network.
        destination: Where to; a folder there is replaced.
        board: Name of the board that it is for.
        design_hash: What the circuit would say that it is; None for the hash of the network.

    Returns:
        What its ``overlay.json`` says.
    """
    digest = graph_hash(graph)
    plan = plan_overlay(
        graph,
        model="network",
        board=find_board(board),
        graph_hash=digest,
        design_hash=design_hash or digest,
    )
    with tempfile.TemporaryDirectory(prefix="bitsiege-") as name:
        folder = Path(name)
        (folder / f"{plan.name}.hwh").write_text(hwh_text(plan), encoding="utf-8")
        known_answers(graph).save(folder / "known_answers.npz")
        write_about(folder, plan)
        settings = json.dumps(finn_settings(open_folder(folder)), indent=2)
        (folder / "settings.json").write_text(settings + "\n", encoding="utf-8")
        write_about(folder, plan)
        return emulation_folder(folder, destination)


def emulation_folder(overlay: Path, destination: Path) -> Manifest:
    """Copy an overlay's folder for an emulation, with a placeholder if it has no bitstream.

    Args:
        overlay: The folder.
        destination: Where to; a folder there is replaced.

    Returns:
        What ``overlay.json`` of the copy says.

    Raises:
        InputError: It is no overlay, or can't be written.
    """
    manifest = open_folder(overlay)
    bitfile = f"{manifest.name}.bit"
    with atomic_directory(destination) as folder:
        shutil.copytree(overlay, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("project"))
        if not (folder / bitfile).is_file():
            data = placeholder_bitstream(manifest)
            (folder / bitfile).write_bytes(data)
            about = cast("dict[str, Any]", json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
            about.setdefault("files", {})[bitfile] = hashlib.sha256(data).hexdigest()
            text = json.dumps(about, indent=2) + "\n"
            (folder / FILE_NAME).write_text(text, encoding="utf-8")
    return open_folder(destination)


def folder_firmware(manifest: Manifest) -> bytes:
    """Return what PYNQ loads for the folder that a manifest was read from.

    Raises:
        InputError: Its bitstream is damaged or isn't there.
    """
    try:
        path = manifest.check_file(f"{manifest.name}.bit")
    except DriverError as error:
        raise InputError(error.message, hint=error.hint) from error
    return firmware_of(path.read_bytes())
