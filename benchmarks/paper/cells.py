"""One cell of the table: craft, judge on every target, and keep the result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attacks.archive import AttackArchive, load_attack, make_archive, save_attack
from attacks.catalog import make_attack
from attacks.gradient import DEFAULT_BATCH, GradientAttack
from attacks.query import QueryAttack
from attacks.substitute import SubstituteAttack
from benchmarks.paper.models import Opened, judges_of, open_model
from benchmarks.paper.rows import Row
from bitsiege.pipeline.digests import json_digest
from bitsiege.statistics import wilson
from export.files import atomic_file
from hw.rtl_target import RtlTarget
from hw.target import ImageArray, Target
from quant_models.data import ImageSet, load_dataset

# Held-out images that a substitute starts from, as many as the paper has; the last ones of the test set.
_SEEDS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many images.

    Attributes:
        images: Most images of any cell.
        rtl_images: The first ones of them, for rtl.
        full: Whether the rows' large numbers count.
    """

    images: int
    rtl_images: int
    full: bool

    def count(self, row: Row) -> int:
        """Return the number of images of a row's cells."""
        return min(row.full_images if self.full else row.images, self.images)


def compute(
    key: str, row: Row, folder: Path, limits: Limits, data_dir: Path | None, cache_dir: Path | None
) -> None:
    """Compute a cell unless its file is there already, in a process of its own.

    Writes ``MODEL/ROW-DIGEST.json``, and the attack's images beside it.
    """
    torch.set_num_threads(1)
    opened = open_model(key)
    path = cell_path(folder, opened, row, limits.count(row))
    if path.is_file():
        return
    data = _images(data_dir)
    some = data.take(np.arange(limits.count(row)))
    judges = judges_of(key, cache_dir)
    images, labels, distances = some.images, some.labels, {}
    if row.attack:
        archive = _crafted(
            folder, open_model(row.crafted_on or key), row, some, data.images[-_SEEDS:], judges[0]
        )
        images, labels, distances = archive.adversarial, archive.labels, _distances(archive)
    found = {
        "model": key,
        "row": row.key,
        "images": len(images),
        "targets": _judge(judges, images, labels, limits.rtl_images),
        **distances,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")


@cache
def _images(data_dir: Path | None) -> ImageSet:
    return load_dataset("mnist", data_dir=data_dir).test


def cell_path(folder: Path, opened: Opened, row: Row, count: int) -> Path:
    """Return the file of a cell; its name follows from all that decides it but the program's version."""
    digest = json_digest({"hash": opened.hash, "attack": row.attack, **row.parameters, "count": count})
    return folder / opened.model.key.replace(" ", "-") / f"{row.key}-{digest[:12]}.json"


def _crafted(
    folder: Path, on: Opened, row: Row, data: ImageSet, seeds: ImageArray, oracle: Target
) -> AttackArchive:
    """Craft, or read what an earlier cell crafted: a model's own images are also what is transferred."""
    attack = make_attack(row.attack, **row.parameters)
    digest = json_digest(
        {
            "hash": on.hash,
            "attack": row.attack,
            **attack.parameters(),
            "twin": row.on_twin,
            "count": len(data.labels),
        }
    )
    path = folder / "attacks" / f"{digest}.npz"
    if path.is_file():
        return load_attack(path)
    if isinstance(attack, SubstituteAttack):
        result = attack.craft(oracle, data.images, data.labels, seeds=seeds)
    elif isinstance(attack, QueryAttack):
        result = attack.craft(oracle, data.images, data.labels)
    elif isinstance(attack, GradientAttack):
        size = _batch_size(len(data.labels))
        result = attack.craft(on.gradients(row), data.images, data.labels, batch_size=size)
    else:
        raise TypeError(f"{row.attack} is neither a gradient nor a query attack")
    archive = make_archive(
        attack, result, originals=data.images, labels=data.labels, graph_hash=on.hash, origin=on.model.network
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_attack(path, archive)
    return archive


def _batch_size(count: int) -> int:
    """Return the largest size up to attacks' own that leaves no batch to be filled up."""
    return max(size for size in range(1, DEFAULT_BATCH + 1) if count % size == 0)


def _judge(
    judges: list[Target], images: ImageArray, labels: np.ndarray[Any, Any], rtl_images: int
) -> list[dict[str, Any]]:
    """Ask every target; the first one is what the others are compared with."""
    found: list[dict[str, Any]] = []
    expected = judges[0].infer(images)
    for target in judges:
        count = min(rtl_images, len(images)) if isinstance(target, RtlTarget) else len(images)
        answer = expected if target is judges[0] else target.infer(images[:count])
        correct = int((answer.labels == labels[:count]).sum())
        found.append(
            {
                "target": target.name,
                "images": count,
                "correct": correct,
                "interval": wilson(correct, count),
                "differing_logits": int((answer.logits != expected.logits[:count]).sum()),
            }
        )
    return found


def _distances(archive: AttackArchive) -> dict[str, Any]:
    change = archive.adversarial.astype(np.float64) - archive.originals
    flat = change.reshape(len(change), -1) / 255
    return {
        "l2_mean": float(np.sqrt((flat**2).sum(1)).mean()),
        "linf_mean": float(np.abs(flat).max(1).mean()),
        "float_success": None if archive.float_success is None else float(archive.float_success.mean()),
        "queries_mean": None if archive.queries is None else float(archive.queries.mean()),
    }
