"""The audit log: who asked for what, when, and what came of it; a JSON object a line, only ever appended."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

# Strangers must not be able to fill the disk: what they do is counted, and written this often at most.
_STRANGERS_INTERVAL_S = 10.0


class AuditLog:
    """An append-only file.

    Args:
        path: The file; it is made where there is none.

    Raises:
        OSError: It can't be opened for appending.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        self._lock = threading.Lock()
        self._strangers = 0
        self._reported_s = float("-inf")

    def write(self, event: str, **fields: Any) -> None:
        """Append one event.

        Raises:
            OSError: It can't be written; the caller must not go on as if it were.
        """
        entry: dict[str, Any] = {"utc": utc_now(), "event": event, **fields}
        line = json.dumps(entry, separators=(",", ":"), default=str).encode() + b"\n"
        with self._lock:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes of the audit log were written")

    def stranger(self, reason: str) -> None:
        """Count somebody who was turned away without a name.

        Raises:
            OSError: As for `write`.
        """
        with self._lock:
            self._strangers += 1
            now_s = time.monotonic()
            if now_s - self._reported_s < _STRANGERS_INTERVAL_S:
                return
            count, self._strangers, self._reported_s = self._strangers, 0, now_s
        self.write("turned-away", count=count, last=reason[:200])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def utc_now() -> str:
    """Return the time of day in UTC, to the millisecond."""
    now_s = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)) + f".{int(now_s % 1 * 1000):03d}Z"
