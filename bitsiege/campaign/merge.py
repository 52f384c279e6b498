"""A finished cell: the archives of its shards as one, all answers, and one replay."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attacks.archive import AttackArchive, load_attack, save_attack
from bitsiege.campaign.answers import ANSWERS, Answers, Playback, answers_bytes, join_answers, read_answers
from bitsiege.campaign.digests import images_digest
from bitsiege.campaign.plan import Cell, Shard
from bitsiege.campaign.store import RESULT, CampaignDirectory
from bitsiege.campaign.work import ARCHIVE, timeless
from bitsiege.pipeline.digests import file_digest
from bitsiege.pipeline.store import read_json, write_json
from bitsiege.progress import SilentProgress
from bitsiege.replaying import replay_limited
from export.errors import CheckFailedError, InputError
from export.files import atomic_directory

REPLAY = "replay.json"


def merged_result(directory: CampaignDirectory, cell: Cell) -> dict[str, Any] | None:
    """Return what `merge_cell` returned for the same shards, or None unless its files are there and whole."""
    folder = directory.path / cell.folder
    try:
        document = read_json(folder / RESULT)
        whole = document["key"] == cell.key and all(
            file_digest(folder / name) == digest for name, digest in document["files"].items()
        )
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return None
    return document["result"] if whole else None


def merge_cell(directory: CampaignDirectory, cell: Cell, *, order: tuple[str, ...]) -> dict[str, Any]:
    """Write a cell's folder: ``attack.npz``, ``answers.npz``, ``replay.json`` and ``result.json``.

    The archive is there only where the images are crafted, the others only where a model judges them.

    Args:
        directory: All shards of the cell are there.
        cell: What to merge.
        order: The targets, in the order of the configuration.

    Returns:
        JSON values for the cell's entry in ``campaign.json``: archive (its path) and, where it is the cell's
        own, archive_sha256, images_sha256 (originals and labels), source_hash (what it was crafted on),
        perturbation.

    Raises:
        CheckFailedError: Shards of one cell contradict each other.
        InputError: A shard is damaged, or the folder can't be written.
    """
    archive = cell_archive(directory, cell, cell.with_images)
    with atomic_directory(directory.path / cell.folder) as folder:
        names: list[str] = []
        result: dict[str, Any] = {
            "archive": f"{cell.images_folder}/{ARCHIVE}",
            "images_sha256": images_digest(archive.originals, archive.labels),
        }
        if not cell.source:
            save_attack(folder / ARCHIVE, archive)
            names.append(ARCHIVE)
        answers = _answers(directory, cell, order)
        if answers:
            replay = _replay(directory, cell, archive, answers)
            (folder / ANSWERS).write_bytes(answers_bytes(answers))
            write_json(folder / REPLAY, replay)
            names += [ANSWERS, REPLAY]
            result["perturbation"] = replay["perturbation"]
        files = {name: file_digest(folder / name) for name in names}
        result["source_hash"] = archive.graph_hash
        if ARCHIVE in files:
            result["archive_sha256"] = files[ARCHIVE]
        write_json(folder / RESULT, {"key": cell.key, "files": files, "result": result})
    return result


def cell_archive(directory: CampaignDirectory, cell: Cell, shards: Sequence[Shard]) -> AttackArchive:
    """Return the images of some of a cell's shards, which are there, as one archive."""
    folders = [directory.shard_folder(shard.images or shard.key) for shard in shards]
    return join_archives([load_attack(folder / ARCHIVE) for folder in folders], cell.folder)


def _replay(
    directory: CampaignDirectory, cell: Cell, archive: AttackArchive, answers: Mapping[str, Answers]
) -> dict[str, Any]:
    record = directory.read_record(cell.with_images[0].key)
    if record is None:
        raise InputError(f"a shard of {cell.folder} was changed", hint="the same command goes on")
    report = replay_limited(
        archive,
        [Playback(name, answers[name], archive) for name in answers],
        graph_hash=record["replay"]["graph_hash"],
        limits={name: len(part) for name, part in answers.items() if len(part) < len(archive)},
        trace=False,
        transfer=bool(cell.source),
        progress=SilentProgress(),
        label=cell.folder,
    )
    replay, _ = timeless(report.to_json())
    _add_layers(replay, directory, cell)
    return replay


def join_archives(parts: list[AttackArchive], name: str) -> AttackArchive:
    """Return archives of one attack as one, in the order of their images.

    Args:
        parts: They differ in their images only.
        name: What they belong to, for messages.

    Raises:
        CheckFailedError: They differ in more than their images.
    """
    joined: dict[str, Any] = {}
    for field in dataclasses.fields(AttackArchive):
        if field.name == "first_index":
            continue
        values = [getattr(part, field.name) for part in parts]
        if all(isinstance(value, np.ndarray) for value in values):
            joined[field.name] = np.concatenate(values)
        elif any(isinstance(v, np.ndarray) for v in values) or any(v != values[0] for v in values):
            raise CheckFailedError(f"the shards of {name} differ in {field.name}")
    return dataclasses.replace(parts[0], **joined)


def _answers(directory: CampaignDirectory, cell: Cell, order: tuple[str, ...]) -> dict[str, Answers]:
    parts: dict[str, list[Answers]] = {}
    for shard in sorted((shard for shard in cell.shards if shard.targets), key=lambda shard: shard.first):
        for name, found in read_answers(directory.shard_folder(shard.key) / ANSWERS).items():
            parts.setdefault(name, []).append(found)
    return {name: join_answers(parts[name]) for name in order if name in parts}


def _add_layers(replay: dict[str, Any], directory: CampaignDirectory, cell: Cell) -> None:
    """Take the layer of a first divergence from the shard that found it: there the targets could trace."""
    begin = min(shard.first for shard in cell.shards)
    for entry in replay["targets"]:
        for images in ("clean", "adversarial"):
            first = entry[images]["first"]
            if first is not None:
                found = _find(directory, cell, entry["target"], images, begin + first["image"])
                first["layer"], first["note"] = found["layer"], found["note"]


def _find(directory: CampaignDirectory, cell: Cell, target: str, images: str, image: int) -> dict[str, Any]:
    for shard in cell.shards:
        record = directory.read_record(shard.key)
        if record is None or not shard.first <= image < shard.first + shard.count:
            continue
        for entry in record["replay"]["targets"]:
            first = entry[images]["first"]
            if entry["target"] == target and first is not None and shard.first + first["image"] == image:
                return first
    raise CheckFailedError(f"no shard of {cell.folder} has the divergence of {target} on image {image}")
