"""Finding Yosys, and running it as a process of its own: its crash or lack of memory is only a failed job."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from export.errors import ToolError

TIMEOUT_S = 3600.0
_SHOWN_LINES = 6
_HINT = "install it with: pip install pyosys"
# The package is a library; this is its whole command line.
_RUN_SCRIPT = "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Yosys:
    """A Yosys that can be called.

    Attributes:
        command: Program and leading arguments; the name of a script file follows.
        version: What it says of itself.
    """

    command: tuple[str, ...]
    version: str


def find_yosys() -> Yosys:
    """Return the Yosys of the PyPI package pyosys, else the one on the PATH.

    Raises:
        ToolError: There is none, or it does not run.
    """
    if importlib.util.find_spec("pyosys") is not None:
        version = importlib.metadata.version("pyosys")
        return Yosys(command=(sys.executable, "-I", "-c", _RUN_SCRIPT), version=f"pyosys {version}")
    program = shutil.which("yosys")
    if program is None:
        raise ToolError("Yosys is missing; it synthesises the generated hardware", hint=_HINT)
    return Yosys(command=(program, "-s"), version=_run((program, "-V"), None, "Yosys", TIMEOUT_S).strip())


def run_script(yosys: Yosys, script: str, folder: Path, *, what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Run a script in a folder, to its end.

    Args:
        yosys: The program.
        script: Commands, one a line.
        folder: Working directory; the script is written to it.
        what: What is synthesised, for messages.
        timeout_s: When to give up [s].

    Raises:
        ToolError: It can't be started, fails, is killed, or takes too long.
    """
    (folder / "script.ys").write_text(script, encoding="ascii")
    _run((*yosys.command, "script.ys"), folder, f"Yosys on {what}", timeout_s)


def _run(command: tuple[str, ...], folder: Path | None, what: str, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"can't run {what}: {error.strerror or error}", hint=_HINT) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{what} did not end in {timeout_s:.0f} s") from error
    if done.returncode < 0:
        raise ToolError(
            f"{what} was killed by signal {-done.returncode}",
            hint="signal 9 mostly means that the machine ran out of memory: try one job, or more folding",
        )
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines()
        errors = [line for line in lines if "ERROR" in line or "Error" in line] or lines[-_SHOWN_LINES:]
        said = "\n".join(errors[:_SHOWN_LINES])
        raise ToolError(f"{what} failed (status {done.returncode}): {said}")
    return done.stdout
