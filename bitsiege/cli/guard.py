"""Exceptions to exit statuses: whatever happens, the user reads one or two lines, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

import typer

from export.errors import BitsiegeError

BAD_INPUT = 2
TOOL_MISSING = 3
BUG = 70
INTERRUPTED = 128 + 2
BROKEN_PIPE = 128 + 13
_OURS = frozenset({"bitsiege", "attacks", "hw", "export", "quant_models"})
_MAX_LINE = 600


def guarded(call: Callable[[], int], *, wants_traceback: Callable[[], bool]) -> int:
    """Run ``call`` and return the exit status of the process.

    Args:
        call: The command; it returns its own exit status.
        wants_traceback: Asked after an unexpected exception (a bug): whether to print its traceback.

    Returns:
        ``call``'s status, or that of the exception that it raised.
    """
    try:
        status = call()
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = _complain("interrupted", "", INTERRUPTED)
    except BrokenPipeError:
        status = BROKEN_PIPE
    except SystemExit as stop:
        # Typer's own reaction to a closed pipe is to exit with 1, which here means a failed check.
        if isinstance(stop.__context__, BrokenPipeError):
            status = BROKEN_PIPE
        else:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:  # noqa: BLE001 - the last line of defence, nothing is swallowed
        status = _report(error, wants_traceback())
    if status == BROKEN_PIPE or not _flushes():
        _silence_stdout()
    return status


def _report(error: BaseException, with_traceback: bool) -> int:
    if with_traceback:
        with suppress(OSError):
            traceback.print_exception(error)
    match error:
        case BitsiegeError():
            return _complain(error.message, error.hint, error.exit_status)
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = getattr(context, "command_path", "bitsiege")
            return _complain(_lowered(error.format_message()), f"see {command} --help", error.exit_code)
        case typer.Abort():
            return _complain("interrupted", "", INTERRUPTED)
        case ImportError() if (error.name or "").partition(".")[0] not in _OURS:
            return _complain(f"can't import {error.name}: {error}", "see bitsiege doctor", TOOL_MISSING)
        case MemoryError():
            return _complain("out of memory", "take fewer images at a time, or a smaller network", BAD_INPUT)
        case RuntimeError() if "can't allocate memory" in str(error):
            # PyTorch's way to say it.
            return _report(MemoryError(), with_traceback=False)
        case OSError():
            return _complain(_os_message(error), _os_hint(error), BAD_INPUT)
        case _:
            message = f"a bug in bitsiege: {type(error).__name__}: {error}"
            hint = "bitsiege --debug COMMAND ... shows the traceback; please report it"
            return _complain(message, "" if with_traceback else hint, BUG)


def _os_message(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"can't write the output: {reason}" if error.errno == errno.ENOSPC else reason
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
    return f"{name}: {reason}"


def _os_hint(error: OSError) -> str:
    return "free some space, or choose another place" if error.errno == errno.ENOSPC else ""


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:].removesuffix(".")


def _complain(message: str, hint: str, status: int) -> int:
    """Print the message, and the hint below it; each stays one line."""
    lines = [f"bitsiege: error: {_one_line(message)}"]
    if hint:
        lines.append(f"  hint: {_one_line(hint)}")
    # The error stream itself may be closed or full; the exit status still tells.
    with suppress(OSError, ValueError):
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
    return status


def _one_line(text: str) -> str:
    """Join lines, and drop control characters that a hostile file name could smuggle into a terminal."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 3] + "..."


def _flushes() -> bool:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return False
    return True


def _silence_stdout() -> None:
    """Point standard output at the null device, so that the interpreter's last flush says nothing."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
