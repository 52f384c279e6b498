"""The overlay's folder: description, answers, driver, and a Vivado project to build the bitstream from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from export.errors import InputError
from export.files import atomic_directory
from hw.pynq import finn_settings, parse_manifest
from hw.vivado.answers import KnownAnswers
from hw.vivado.hwh import hwh_text
from hw.vivado.plan import ABOUT, FORMAT, OverlayPlan
from hw.vivado.scripts import project_texts, readme_text
from hw.vivado.wrapper import TOP, WRAPPER, wrapper_text

PROJECT = "project"
ANSWERS = "known_answers.npz"
SETTINGS = "settings.json"
_HARDWARE = Path(__file__).parent.parent
_ON_THE_BOARD = {"bitsiege_pynq": _HARDWARE / "pynq", "bitsiege_boardserver": _HARDWARE / "boardserver"}
_PYPROJECT = f"""\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "bitsiege-pynq"
version = "1"
requires-python = ">=3.10"
dependencies = ["numpy"]

[tool.setuptools]
packages = {json.dumps(list(_ON_THE_BOARD))}
"""
_SOURCES = (".v", ".sv")


def write_overlay(
    path: Path, plan: OverlayPlan, answers: KnownAnswers, generate_rtl: Callable[[Path], object]
) -> None:
    """Write an overlay without a bitstream, as a whole or not at all.

    Args:
        path: The directory; an older overlay there is replaced.
        plan: What to write.
        answers: The self-test.
        generate_rtl: Writes ``bnn_overlay.sv`` and everything that it needs into an empty directory.

    Raises:
        InputError: ``path`` holds something else than an overlay, or can't be written.
    """
    refuse_foreign(path)
    with atomic_directory(path) as folder:
        project = folder / PROJECT
        rtl = project / "rtl"
        rtl.mkdir(parents=True)
        generate_rtl(rtl)
        top = rtl / f"{TOP}.sv"
        if not top.is_file():
            raise InputError(f"the generated sources have no {top.name}")
        _write(rtl / f"{WRAPPER}.v", wrapper_text(top.read_text(encoding="utf-8")))
        sources = [file.name for file in rtl.iterdir() if file.suffix in _SOURCES]
        for name, text in project_texts(plan, sources).items():
            _write(project / name, text)
        _write(folder / f"{plan.name}.hwh", hwh_text(plan))
        _write(folder / SETTINGS, json_text(finn_settings(parse_manifest(plan.about({})))))
        _write(folder / "README.md", readme_text(plan))
        answers.save(folder / ANSWERS)
        copy_driver(folder / "driver")
        write_about(folder, plan)


def write_about(folder: Path, plan: OverlayPlan, *, achieved_mhz: float | None = None) -> None:
    """Write ``overlay.json`` with the hashes of the files beside it.

    Args:
        folder: The overlay's directory.
        plan: The overlay.
        achieved_mhz: Clock at which the bitstream meets its timing [MHz]; None where there is none.
    """
    files = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.is_file() and file.name != ABOUT
    }
    _write(folder / ABOUT, json_text(plan.about(files, achieved_mhz=achieved_mhz)))


def read_about(path: Path) -> dict[str, Any]:
    """Read ``overlay.json`` of a directory.

    Raises:
        InputError: It is no overlay.
    """
    hint = "make one with bitsiege package"
    try:
        document: object = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} is no overlay: can't read {ABOUT}: {reason}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path / ABOUT} is damaged: {error}", hint=hint) from error
    match document:
        case {"format": str(name)} if name == FORMAT:
            return cast("dict[str, Any]", document)
        case _:
            raise InputError(f"{path / ABOUT} describes no overlay", hint=hint)


def refuse_foreign(path: Path) -> None:
    """Refuse to replace a directory that is no overlay: all of it would be deleted.

    Raises:
        InputError: It is something else.
    """
    if path.is_file():
        raise InputError(f"can't write the overlay {path}: a file of that name exists")
    if not path.is_dir() or not any(path.iterdir()):
        return
    try:
        read_about(path)
    except InputError as error:
        raise InputError(
            f"{path} holds something else than an overlay, and would be replaced",
            hint="name a new or empty directory",
        ) from error


def copy_driver(path: Path) -> None:
    """Copy driver and board server, as packages that ``pip install`` takes and that run from their folder."""
    for name, source in _ON_THE_BOARD.items():
        shutil.copytree(source, path / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    _write(path / "pyproject.toml", _PYPROJECT)


def json_text(value: object) -> str:
    """Return indented JSON with a final line break."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
