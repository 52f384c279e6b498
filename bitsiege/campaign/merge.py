"""A finished cell: the archives of its shards as one, all answers, and one replay."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from attacks.archive import AttackArchive, load_attack, save_attack
from bitsiege.campaign.answers import ANSWERS, Answers, Playback, answers_bytes, join_answers, read_answers
from bitsiege.campaign.digests import images_digest
from bitsiege.campaign.plan import Cell
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

    Args:
        directory: All shards of the cell are there.
        cell: What to merge.
        order: The targets, in the order of the configuration.

    Returns:
        JSON values for the cell's entry in ``campaign.json``: images_sha256 (originals and labels),
        archive_sha256, perturbation.

    Raises:
        CheckFailedError: Shards of one cell contradict each other.
        InputError: A shard is damaged, or the folder can't be written.
    """
    crafts = [shard for shard in cell.shards if not shard.after]
    archive = join_archives(
        [load_attack(directory.shard_folder(shard.key) / ARCHIVE) for shard in crafts], cell.folder
    )
    answers = _answers(directory, cell, order)
    playbacks = [Playback(name, answers[name], archive) for name in answers]
    report = replay_limited(
        archive,
        playbacks,
        graph_hash=archive.graph_hash,
        limits={name: len(part) for name, part in answers.items() if len(part) < len(archive)},
        trace=False,
        progress=SilentProgress(),
        label=cell.folder,
    )
    replay, _ = timeless(report.to_json())
    replay["first_image"] = crafts[0].first
    _add_layers(replay, directory, cell)
    with atomic_directory(directory.path / cell.folder) as folder:
        save_attack(folder / ARCHIVE, archive)
        (folder / ANSWERS).write_bytes(answers_bytes(answers))
        write_json(folder / REPLAY, replay)
        files = {name: file_digest(folder / name) for name in (ARCHIVE, ANSWERS, REPLAY)}
        result = {
            "images_sha256": images_digest(archive.originals, archive.labels),
            "archive_sha256": files[ARCHIVE],
            "perturbation": replay["perturbation"],
        }
        write_json(folder / RESULT, {"key": cell.key, "files": files, "result": result})
    return result


def join_archives(parts: list[AttackArchive], name: str) -> AttackArchive:
    """Return archives of consecutive images as one.

    Args:
        parts: They differ in their images only.
        name: What they belong to, for messages.

    Raises:
        CheckFailedError: They differ in more than their images.
    """
    joined: dict[str, Any] = {}
    for field in dataclasses.fields(AttackArchive):
        values = [getattr(part, field.name) for part in parts]
        if all(isinstance(value, np.ndarray) for value in values):
            joined[field.name] = np.concatenate(values)
        elif any(isinstance(v, np.ndarray) for v in values) or any(v != values[0] for v in values):
            raise CheckFailedError(f"the shards of {name} differ in {field.name}")
    return dataclasses.replace(parts[0], **joined)


def _answers(directory: CampaignDirectory, cell: Cell, order: tuple[str, ...]) -> dict[str, Answers]:
    parts: dict[str, list[Answers]] = {}
    for shard in sorted(cell.shards, key=lambda shard: shard.first):
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
