"""Processes in FINN's environment: one that takes a network through the flow, one that answers questions."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any, cast

from export.errors import ToolError

_MAIN = Path(__file__).parent / "inside" / "main.py"
_LOG_LINES = 12


def command(python: Path, mode: str, job: Path) -> list[str]:
    """Return the command of a process; no variable of Python's and no directory of ours reaches it."""
    return [str(python), "-I", "-B", str(_MAIN), mode, str(job)]


class Conversation:
    """A process that is asked in lines of JSON, and must answer within a deadline.

    Args:
        python: Of FINN's environment.
        mode: ``flow`` or ``serve``.
        job: The file that says what to do.
        log: Where its messages go.

    Raises:
        ToolError: It can't be started.
    """

    def __init__(self, python: Path, mode: str, job: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            try:
                self._process = subprocess.Popen(
                    command(python, mode, job.resolve()),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=job.parent,
                    start_new_session=True,
                )
            except OSError as error:
                raise ToolError(f"can't start {python}: {error.strerror or error}") from error
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def ask(self, question: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send a question and return its answer; as `answer`.

        Raises:
            ToolError: It has ended, failed, or missed the deadline.
        """
        stdin = cast("IO[bytes]", self._process.stdin)
        # Where it has ended, reading says more than writing does.
        with contextlib.suppress(OSError):
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
        return self.answer(timeout_s)

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            ToolError: As `ask`; the process is ended then.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            self.close()
            raise ToolError(f"FINN did not answer within {timeout_s:g} s", hint=self._tail()) from None
        answer: dict[str, Any] = {} if line is None else json.loads(line)
        if line is None or "error" in answer:
            status = self._process.poll()
            self.close()
            raise ToolError(
                str(answer.get("error", f"FINN's process ended with status {status}")), hint=self._tail()
            )
        return answer

    def wait(self, timeout_s: float) -> None:
        """Wait until it has ended well, whatever it answers.

        Raises:
            ToolError: It failed, or missed the deadline.
        """
        end = time.monotonic() + timeout_s
        try:
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=timeout_s)
                if line is not None:
                    raise ToolError(f"FINN: {json.loads(line).get('error', line)}", hint=self._tail())
            status = self._process.wait(timeout=max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise ToolError(f"FINN took more than {timeout_s:g} s", hint=self._tail()) from None
        finally:
            self.close()
        if status != 0:
            raise ToolError(f"FINN's process ended with status {status}", hint=self._tail())

    def close(self) -> None:
        """End the process and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                cast("IO[bytes]", stream).close()

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:]) or "it printed nothing"
