"""The numbers of a campaign, finished or not, from its plan and the shards that are there.

They depend on nothing else: no clock, no machine, no folder. Equal shards give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bitsiege.campaign.plan import Cell, Plan
from bitsiege.statistics import clopper_pearson, wilson

VERSION = 2
_SETS = ("clean", "adversarial")
_SUMS = ("count", "correct", "diverging_images", "diverging_logits")

Record = Mapping[str, Any]


def summarise(
    about: Mapping[str, Any],
    plan: Plan,
    find: Callable[[str], Record | None],
    merged: Callable[[Cell], Mapping[str, Any] | None],
) -> dict[str, Any]:
    """Return what ``campaign.json`` holds.

    Args:
        about: Name, data, models, sources, replay and configuration, as the plan holds them.
        plan: All pieces.
        find: Returns the record of a shard, or None while it isn't there.
        merged: Returns what the merging of a finished cell added, or None.
    """

    def summed(cell: Cell) -> dict[str, Any]:
        records = [record for shard in cell.shards if (record := find(shard.key)) is not None]
        extra = merged(cell) if len(records) == len(cell.shards) else None
        return cell_summary(cell, records, list(about["replay"]["targets"])) | dict(extra or {})

    results = [summed(cell) for cell in plan.cells]
    there = [find(shard.key) is not None for shard, _ in plan.pieces()]
    return {
        "version": VERSION,
        "kind": "campaign",
        **about,
        "finished": all(there),
        "shards": {"done": sum(there), "total": len(there)},
        "divergences": sum(result["divergences"] for result in results),
        "results": results,
        "crafted": [summed(cell) for cell in plan.crafted],
    }


def cell_summary(cell: Cell, records: list[Record], order: list[str]) -> dict[str, Any]:
    """Return the numbers of one cell.

    Args:
        cell: Its plan.
        records: Of those of its shards that are there.
        order: The targets, in the order of the configuration.
    """
    crafted = [record for record in records if record["crafted"]]
    parts = sorted(records, key=lambda record: record["first"])
    targets = [_target(name, parts) for name in order if any(_entries(name, parts))]
    replay = parts[0]["replay"] if parts else {}
    queries = [(r["crafted"].get("queries"), r["count"]) for r in crafted]
    return {
        "model": cell.model,
        "attack": cell.attack,
        "title": cell.title,
        "source": cell.source,
        "epsilon": cell.epsilon,
        "seed": cell.seed,
        "parameters": replay.get("parameters", dict(cell.parameters)),
        "norm": replay.get("norm"),
        "directory": cell.folder,
        "images": sum(shard.count for shard in cell.with_images),
        "images_done": sum(record["count"] for record in crafted),
        "finished": len(records) == len(cell.shards),
        "succeeded": sum(record["crafted"]["succeeded"] for record in crafted),
        "origin": crafted[0]["crafted"].get("origin") if crafted else None,
        "queries_mean": _mean([(mean, count) for mean, count in queries if mean is not None]),
        "divergences": sum(target[images]["diverging_images"] for target in targets for images in _SETS),
        "targets": targets,
    }


def _target(name: str, parts: list[Record]) -> dict[str, Any]:
    entries = list(_entries(name, parts))
    return {
        "target": name,
        "kind": entries[0][1]["kind"],
        "images": sum(entry["clean"]["count"] for _, entry in entries),
        **{images: _set([(first, entry[images]) for first, entry in entries]) for images in _SETS},
    }


def _entries(name: str, parts: list[Record]) -> Iterable[tuple[int, dict[str, Any]]]:
    """A target's results in each shard that it took part in, with the shard's first image."""
    for record in parts:
        for entry in record["replay"]["targets"]:
            if entry["target"] == name:
                yield record["first"], entry


def _set(entries: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """One target on one set of images: sums, share and intervals, the first divergence, cycles."""
    sums = {key: sum(entry[key] for _, entry in entries) for key in _SUMS}
    diverging = [(first, entry["first"]) for first, entry in entries if entry["first"] is not None]
    # The longest stream says most about a full pipeline; of equal ones the first.
    longest = max(entries, key=lambda pair: (pair[1]["count"], -pair[0]))[1]
    return {
        **sums,
        "accuracy": sums["correct"] / sums["count"],
        "wilson": list(wilson(sums["correct"], sums["count"])),
        "clopper_pearson": list(clopper_pearson(sums["correct"], sums["count"])),
        "on_target": _mean(
            [(e["on_target"], e["count"]) for _, e in entries if e.get("on_target") is not None]
        ),
        "first": _placed(*diverging[0]) if diverging else None,
        "first_latency_cycles": longest["first_latency_cycles"],
        "steady_latency_cycles": longest["steady_latency_cycles"],
    }


def _placed(first: int, divergence: Mapping[str, Any]) -> dict[str, Any]:
    """A divergence with the image's index in the data set."""
    return {**divergence, "image": first + divergence["image"]}


def _mean(parts: list[tuple[float, int]]) -> float | None:
    count = sum(weight for _, weight in parts)
    return sum(value * weight for value, weight in parts) / count if count else None
