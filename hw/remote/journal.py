"""What a run already has of a board, kept so that an interrupted one goes on where it was."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import InputError
from export.files import atomic_file
from export.graph import IntArray

_ABOUT = "run.json"


class RunJournal:
    """A folder with the answers so far; its run has a name that goes into the number of each batch.

    Args:
        folder: The folder; one that is of another run is emptied.
        subject: What the run computes: another subject is another run.

    Raises:
        InputError: It can't be used, or holds something else.
    """

    def __init__(self, folder: Path, subject: str) -> None:
        self._folder = folder
        digest = hashlib.sha256(subject.encode()).hexdigest()
        about = self._read_about()
        if about is None or about.get("subject") != digest or not isinstance(about.get("run"), str):
            if folder.exists() and about is None and any(folder.iterdir()):
                raise InputError(f"{folder} is in the way: it holds something else than an interrupted run")
            shutil.rmtree(folder, ignore_errors=True)
            about = {"run": new_run(), "subject": digest}
            with atomic_file(folder / _ABOUT) as temporary:
                temporary.write_text(json.dumps(about), encoding="utf-8")
        self.run = str(about["run"])

    def find(self, batch: str) -> tuple[IntArray, dict[str, Any]] | None:
        """Return the logits and the record of a batch, or None."""
        try:
            with (
                (self._folder / f"{batch}.npz").open("rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                logits = np.asarray(arrays["logits"], np.int64)
                return logits, json.loads(arrays["record"].tobytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # A file that was cut off is as good as none.
            return None

    def add(self, batch: str, logits: IntArray, record: dict[str, Any]) -> None:
        """Keep the answer to a batch.

        Raises:
            InputError: It can't be written.
        """
        text = np.frombuffer(json.dumps(record).encode(), np.uint8)
        with atomic_file(self._folder / f"{batch}.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, logits=logits, record=text)

    def remove(self) -> None:
        """Remove the folder: the run is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read_about(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self._folder / _ABOUT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def new_run() -> str:
    """Return a name that no other run has."""
    return secrets.token_hex(8)
