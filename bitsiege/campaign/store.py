"""The campaign's folder: shards by their keys, the plan, and results.

``marker.json`` says what it is, ``models/`` holds the builds, ``shards/`` what workers returned, ``results/``
the merged cells, ``campaign.json`` all numbers, ``timing.json`` what depends on the machine.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bitsiege.campaign.digests import bytes_digest
from bitsiege.campaign.plan import Plan
from bitsiege.campaign.work import FORMAT_VERSION, RECORD, TIMING, Files
from bitsiege.pipeline.store import RunDirectory, read_json
from export.errors import InputError
from export.files import atomic_directory

MARKER = "marker.json"
PLAN = "plan.json"
SUMMARY = "campaign.json"
RESULT = "result.json"
_SHARDS = "shards"
_RESULTS = "results"


class CampaignDirectory(RunDirectory):
    """The folder of one campaign."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, marker=MARKER)

    def shard_folder(self, key: str) -> Path:
        """Where the files of a shard are."""
        return self.path / _SHARDS / key[:2] / key

    def write_shard(self, key: str, files: Files) -> None:
        """Keep what a worker returned, all of it or nothing.

        Raises:
            InputError: It can't be written.
        """
        with atomic_directory(self.shard_folder(key)) as folder:
            for name, data in files.items():
                (folder / name).write_bytes(data)

    def read_record(self, key: str) -> dict[str, Any] | None:
        """Return the record of a shard, or None unless all of its files are there and whole."""
        folder = self.shard_folder(key)
        try:
            record = json.loads((folder / RECORD).read_bytes())
            known = record["version"] == FORMAT_VERSION and record["key"] == key
            whole = known and all(
                bytes_digest((folder / name).read_bytes()) == digest
                for name, digest in record["files"].items()
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return record if whole else None

    def read_file(self, key: str, name: str) -> bytes:
        """Return one file of a shard that is whole."""
        return (self.shard_folder(key) / name).read_bytes()

    def read_timing(self, key: str) -> dict[str, Any]:
        """Return when, where and in what time a shard was computed; empty where nothing is known."""
        try:
            timing = json.loads((self.shard_folder(key) / TIMING).read_bytes())
        except (OSError, ValueError):
            return {}
        return timing if isinstance(timing, dict) else {}

    def sweep_leftovers(self) -> None:
        """Remove the temporary files and folders that a killed process left."""
        for name in (SUMMARY, PLAN, MARKER, TIMING):
            for leftover in self.path.glob(f".{Path(name).stem}-*.json"):
                leftover.unlink(missing_ok=True)
        for pattern in (f"{_SHARDS}/*/.*", f"{_RESULTS}/*/*/.*"):
            for leftover in self.path.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)


def read_plan(path: Path) -> tuple[dict[str, Any], Plan]:
    """Read the plan of a campaign's folder: what was asked for, and all pieces of it.

    Raises:
        InputError: The folder is no campaign's, or the plan is damaged.
    """
    if not (path / MARKER).is_file():
        raise InputError(f"{path} is not a campaign", hint="make one with bitsiege campaign CONFIG --out DIR")
    if not (path / PLAN).is_file():
        raise InputError(f"{path} has no plan yet: the campaign was still compiling its models")
    document = read_json(path / PLAN)
    try:
        return document["about"], Plan.from_json(document["plan"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path / PLAN} is damaged: {type(error).__name__}: {error}", hint="start the campaign again"
        ) from error
