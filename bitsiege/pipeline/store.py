"""The run directory: one folder for each step's files, and a manifest beside it that says what made them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bitsiege.pipeline.digests import tree_digests
from export.errors import InputError
from export.files import atomic_file

FORMAT_VERSION = 1
MARKER = "run.json"
_MANIFESTS = "manifests"
_SCRATCH = ".unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished step left.

    Attributes:
        step: Name of the step.
        key: Hash of everything that decides the result.
        outputs: SHA-256 of each file, by its path inside the step's folder.
        seconds: Time that the step took when it ran [s].
        finished: When it ended, ISO 8601 in UTC.
    """

    step: str
    key: str
    outputs: dict[str, str]
    seconds: float
    finished: str


class RunDirectory:
    """The folder of one run; a file named ``marker`` says that it is one."""

    def __init__(self, path: Path, *, marker: str = MARKER) -> None:
        self.path = path
        self.marker = marker

    def folder(self, step: str) -> Path:
        """Where the files of a step are."""
        return self.path / step

    def scratch(self, key: str) -> Path:
        """Where a step with that key keeps what lets it go on after an interruption; it may not exist."""
        return self.path / _SCRATCH / key[:16]

    def drop_scratch(self) -> None:
        """Forget what unfinished steps left, those of other settings included."""
        shutil.rmtree(self.path / _SCRATCH, ignore_errors=True)

    def open(self) -> None:
        """Create the folder, or check that an existing one is ours.

        Raises:
            InputError: It holds other files: steps replace whole folders, so they must be theirs.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is not a directory", hint="choose another --out")
        foreign = self.path.is_dir() and any(p.name != ".lock" for p in self.path.iterdir())
        if foreign and not (self.path / self.marker).is_file():
            raise InputError(
                f"{self.path} is not empty and not a run directory", hint="choose a new or an empty --out"
            )
        self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder for this process alone.

        Raises:
            InputError: Another process holds it.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"another bitsiege process is working in {self.path}",
                hint="wait for it, or choose another --out",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def read_manifest(self, step: str) -> Manifest | None:
        """Return a step's manifest, or None where there is none that can be read."""
        try:
            record = json.loads(self._manifest_path(step).read_text(encoding="utf-8"))
            if record.pop("version") != FORMAT_VERSION:
                return None
            return Manifest(**record)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Record that a step is finished."""
        write_json(self._manifest_path(manifest.step), {"version": FORMAT_VERSION, **asdict(manifest)})

    def is_intact(self, manifest: Manifest) -> bool:
        """Whether the step's files are those that the manifest names."""
        folder = self.folder(manifest.step)
        return folder.is_dir() and tree_digests(folder) == manifest.outputs

    def sweep(self, steps: Iterable[str]) -> None:
        """Remove the temporary folders that a killed process left."""
        for step in steps:
            folder = self.folder(step)
            for leftover in folder.parent.glob(f".{folder.name}-*"):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)

    def _manifest_path(self, step: str) -> Path:
        return self.path / _MANIFESTS / f"{step.replace('/', '.')}.json"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", hint="finish the run first: bitsiege run") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read: {error}") from error
