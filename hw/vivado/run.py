"""Building an overlay's bitstream with Vivado, and telling what went wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.errors import CheckFailedError, ToolError
from export.files import atomic_directory, atomic_file
from hw.vivado.plan import OverlayPlan
from hw.vivado.project import PROJECT, write_about
from hw.vivado.scripts import STEPS

LOG = "vivado.log"
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_ERROR = re.compile(
    r"^(?:ERROR|CRITICAL ERROR|FATAL)\b.*|.*\babnormal program termination\b.*", re.IGNORECASE
)
_TIMING_STEP = "check_timing.tcl"
_MISSED = 1


@dataclass(frozen=True, slots=True)
class Timing:
    """What Vivado says about the timing of a routed design.

    Attributes:
        clock_mhz: Clock that it was checked at [MHz].
        slacks_ns: Worst slack of each kind [ns]; negative is missed.
        met: Whether all of it is met, at the planned clock.
    """

    clock_mhz: float
    slacks_ns: dict[str, float]
    met: bool


def find_vivado() -> Path | None:
    """Return Vivado's executable on the PATH, or None."""
    found = shutil.which("vivado")
    return None if found is None else Path(found)


def build_bitstream(
    path: Path,
    plan: OverlayPlan,
    vivado: Path,
    *,
    timeout_s: float,
    on_step: Callable[[str], None] = lambda name: None,
) -> Timing:
    """Build the bitstream of an overlay, and put it there with everything that describes it.

    The work is done in a copy, so that the overlay is either as before or complete. Vivado's log stays in
    the overlay if it fails.

    Args:
        path: The overlay's directory, as `write_overlay` left it.
        plan: The same plan.
        vivado: Vivado's executable.
        timeout_s: How long all of it may take [s].
        on_step: Called with the name of each script before it runs.

    Returns:
        The timing, which is met.

    Raises:
        CheckFailedError: The timing is missed.
        ToolError: Vivado fails, takes too long, or leaves no bitstream; or the disk is full.
    """
    log = path / PROJECT / LOG
    log.unlink(missing_ok=True)
    with atomic_directory(path) as folder:
        shutil.copytree(path, folder, dirs_exist_ok=True)
        project = folder / PROJECT
        try:
            for step in STEPS:
                name = step.format(name=plan.name)
                on_step(name)
                _run(vivado, name, project, timeout_s)
            timing = read_timing(project / "timing.txt")
            if not timing.met:
                raise _missed(timing)
            for kind in ("bit", "bin"):
                _take(project / f"{plan.name}.{kind}", folder)
        except (CheckFailedError, ToolError):
            _keep_log(project / LOG, log)
            raise
        except OSError as error:
            raise _full_disk(error) from error
        for scratch in ("work", ".Xil"):
            shutil.rmtree(project / scratch, ignore_errors=True)
        write_about(folder, plan, achieved_mhz=timing.clock_mhz)
    return timing


def read_timing(path: Path) -> Timing:
    """Read what ``check_timing.tcl`` wrote.

    Raises:
        ToolError: It is missing or damaged.
    """
    try:
        words = dict(line.split() for line in path.read_text(encoding="utf-8").splitlines())
        slacks = {name: float(value) for name, value in words.items() if name.endswith("_slack_ns")}
        timing = Timing(float(words["clock_mhz"]), slacks, words["met"] == "1")
    except (OSError, ValueError, KeyError) as error:
        raise ToolError(f"Vivado left no report of its timing: {error}", hint=_look_at(LOG)) from error
    if timing.met and (len(slacks) == 0 or min(slacks.values()) < 0):
        raise ToolError("Vivado's report of its timing contradicts itself", hint=_look_at(LOG))
    return timing


def _run(vivado: Path, script: str, project: Path, timeout_s: float) -> None:
    """Run one script; its output goes to the log."""
    command = [str(vivado), "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", script]
    with (project / LOG).open("ab") as log:
        start = log.tell()
        try:
            with subprocess.Popen(
                command,
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process:
                try:
                    status = process.wait(timeout_s)
                except BaseException:
                    # Vivado starts processes of its own, which would go on without it.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    raise
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"Vivado did not finish {script} within {timeout_s:g} s", hint=_look_at(LOG)
            ) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise ToolError(f"can't run {vivado}: {error.strerror or error}") from error
    if status:
        raise _failure(script, status, project, start)


def _failure(script: str, status: int, project: Path, start: int) -> CheckFailedError | ToolError:
    """Turn an exit status and the log from ``start`` on into an error."""
    text = (project / LOG).read_bytes()[start:].decode("utf-8", errors="replace")
    if _FULL.search(text):
        return ToolError(
            f"the disk is full: Vivado stopped in {script}", hint="free some space; it takes GiB"
        )
    report = project / "timing.txt"
    if script == _TIMING_STEP and status == _MISSED and report.is_file():
        return _missed(read_timing(report))
    errors = [line.strip() for line in text.splitlines() if _ERROR.match(line)]
    reason = errors[0] if errors else f"exit status {status}" if status > 0 else f"killed by signal {-status}"
    return ToolError(f"Vivado failed in {script}: {reason}", hint=_look_at(LOG))


def _missed(timing: Timing) -> CheckFailedError:
    if min(timing.slacks_ns.values()) >= 0:
        return CheckFailedError(
            f"Vivado's clock is {timing.clock_mhz:g} MHz, which is not what the board's PLL should give",
            hint="correct clock.pll_mhz in the board's file",
        )
    slacks = ", ".join(
        f"{name.removesuffix('_slack_ns')} {ns:+g} ns" for name, ns in timing.slacks_ns.items()
    )
    return CheckFailedError(
        f"timing is missed at {timing.clock_mhz:g} MHz: slack {slacks}",
        hint="ask for a lower --clock-mhz, or compile with less parallelism",
    )


def _take(file: Path, folder: Path) -> None:
    """Move a bitstream up, out of the project."""
    if not file.is_file() or file.stat().st_size == 0:
        raise ToolError(f"Vivado ended without an error, but left no {file.name}", hint=_look_at(LOG))
    file.replace(folder / file.name)


def _keep_log(source: Path, destination: Path) -> None:
    """Leave the log in the overlay, which otherwise stays as it was."""
    with contextlib.suppress(OSError), atomic_file(destination) as temporary:
        shutil.copyfile(source, temporary)


def _full_disk(error: OSError) -> ToolError:
    if error.errno == errno.ENOSPC:
        return ToolError("the disk is full: Vivado's project can't be written", hint="free some space")
    return ToolError(f"can't work on Vivado's project: {error.strerror or error}")


def _look_at(name: str) -> str:
    return f"see {PROJECT}/{name} in the overlay"
