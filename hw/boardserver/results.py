"""Results by the client's own number of a batch: asked for again, it gets the answer that it got before."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CONFLICT, RequestError
from .files import write_bytes

_SUFFIX = ".result"


@dataclass(frozen=True)
class Result:
    """An answer.

    Attributes:
        question: SHA-256 of everything that decides it, in hex.
        header: JSON object of the answer.
        payload: The logits.
    """

    question: str
    header: dict[str, Any]
    payload: bytes


class ResultStore:
    """Results on disk; the oldest go when there are too many.

    A killed server loses none of them. After a power failure a damaged one counts as absent.

    Args:
        folder: Where they are; it is made where there is none.
        max_bytes: Most bytes of all of them.

    Raises:
        OSError: The folder can't be used.
    """

    def __init__(self, folder: Path, max_bytes: int = 1 << 28) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        found: list[tuple[int, str, int]] = []
        for entry in os.scandir(folder):
            if entry.name.startswith(".new-"):
                Path(entry.path).unlink()
            elif entry.name.endswith(_SUFFIX):
                about = entry.stat(follow_symlinks=False)
                found.append((about.st_mtime_ns, entry.name, about.st_size))
        for _, name, size in sorted(found):
            self._sizes[name] = size
        self._total = sum(self._sizes.values())

    def find(self, client: str, batch: str, question: str) -> Result | None:
        """Return the answer to a batch, or None where it has none.

        Raises:
            RequestError: The client used the number for another batch before (``conflict``).
        """
        with self._lock:
            if _name(client, batch) not in self._sizes:
                return None
        result = self._read(self._folder / _name(client, batch))
        if result is not None and result.question != question:
            raise RequestError(
                CONFLICT, f"the batch {batch} was another one before", hint="number each batch differently"
            )
        return result

    def add(self, client: str, batch: str, result: Result) -> None:
        """Keep an answer.

        Raises:
            OSError: It can't be written.
        """
        name = _name(client, batch)
        front = {
            "question": result.question,
            "sha256": hashlib.sha256(result.payload).hexdigest(),
            "header": result.header,
        }
        text = json.dumps(front, separators=(",", ":")).encode() + b"\n"
        size = len(text) + len(result.payload)
        write_bytes(self._folder / name, [text, result.payload])
        with self._lock:
            self._total += size - self._sizes.pop(name, 0)
            self._sizes[name] = size
            while self._total > self._max_bytes and len(self._sizes) > 1:
                oldest, freed = self._sizes.popitem(last=False)
                self._total -= freed
                (self._folder / oldest).unlink(missing_ok=True)

    def _read(self, path: Path) -> Result | None:
        try:
            text, _, payload = path.read_bytes().partition(b"\n")
            front = json.loads(text)
            if hashlib.sha256(payload).hexdigest() != front["sha256"]:
                return None
            return Result(question=front["question"], header=front["header"], payload=payload)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _name(client: str, batch: str) -> str:
    return hashlib.sha256(f"{client}\0{batch}".encode()).hexdigest() + _SUFFIX
