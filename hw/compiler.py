"""Finding and running the C++ compiler, and running other programs."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from export.errors import ToolError

_COMPILERS = ("g++", "c++", "clang++")
_TOOL_TIMEOUT_S = 1800.0
_SHOWN_LINES = 12
_PROCESSOR_FIELDS = frozenset(
    ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU part")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        command: Its path.
        version: What it says of itself.
    """

    command: str
    version: str

    @property
    def identity(self) -> tuple[str, ...]:
        """What, next to sources and flags, decides how it compiles for this machine: for the cache's keys."""
        return self.command, self.version, processor_identity()


def find_compiler(name: str | None = None) -> Compiler:
    """Return a C++ compiler.

    Args:
        name: Its name on the PATH, or its path; None for the first of g++, c++ and clang++ that is there.

    Raises:
        ToolError: There is none, or it does not run.
    """
    names = _COMPILERS if name is None else (name,)
    command = next((path for known in names if (path := shutil.which(known))), None)
    if command is None:
        raise ToolError(
            f"a C++ compiler is missing: {' or '.join(names)} is not on the PATH; native code needs one",
            hint="install it with: apt-get install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora)",
            tool=names[0],
        )
    return Compiler(command=command, version=_version_of(command))


def run_compiler(compiler: Compiler, arguments: Sequence[str], *, cwd: Path | None = None) -> None:
    """Run the compiler, to compile or to link.

    Raises:
        ToolError: It can't be started, fails, or takes longer than half an hour; the message has its first
            errors.
    """
    done = _run((compiler.command, *arguments), "the C++ compiler", "", cwd)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines
        shown = "\n".join(errors[:_SHOWN_LINES])
        raise ToolError(
            f"the C++ compiler failed (status {done.returncode}):\n{shown}",
            hint=f"g++ 9 or newer is needed; {compiler.command} says it is {compiler.version}",
            tool=compiler.command,
        )


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
    done = _run(command, what, hint, cwd)
    if done.returncode != 0:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[:_SHOWN_LINES])
        raise ToolError(f"{what} failed (status {done.returncode}): {said}", hint=hint)
    return done.stdout


@cache
def processor_identity() -> str:
    """Return what ``-march=native`` depends on: a cache directory may be shared by different machines."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.platform()}"
    first = text.strip().split("\n\n")[0].splitlines()
    kept = [line for line in first if line.split(":")[0].strip() in _PROCESSOR_FIELDS]
    return platform.machine() + hashlib.sha256("\n".join(kept).encode()).hexdigest()


@cache
def _version_of(command: str) -> str:
    said = run_tool((command, "--version"), what="the C++ compiler")
    return said.splitlines()[0] if said else ""


def _run(command: Sequence[str], what: str, hint: str, cwd: Path | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
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
