"""Reads a campaign's folder, finished or not, into the data of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitsiege.campaign.answers import ANSWERS, read_answers
from bitsiege.campaign.job import campaign_status
from bitsiege.campaign.merge import cell_archive
from bitsiege.campaign.store import MARKER, CampaignDirectory, read_plan
from bitsiege.report.access import TRANSFER, access_of, norm_of
from bitsiege.report.distance import (
    BoolArray,
    FloatArray,
    accuracy_over_distance,
    breaking_distances,
    distances,
    median_distance,
)
from bitsiege.report.evaluation import Campaign, CellResult, Curve, ModelInfo, Share, TargetShare
from bitsiege.report.forms import pair_forms
from bitsiege.report.gallery import Gallery
from bitsiege.report.transfers import transfer_matrices
from bitsiege.report.worst import Worst, share
from bitsiege.targets import draws_weights
from export.errors import InputError
from export.graph import IntArray
from hw.build import load_build

if TYPE_CHECKING:
    from attacks.archive import AttackArchive
    from bitsiege.campaign.plan import Cell

_LEFT_OUT = ("seed", "eps")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellImages:
    """What a cell has by now, image by image.

    Attributes:
        index: Index of each image in its data set, int64 ``(N,)``.
        archive: The images.
        before: Labels that the first target gave to the originals, int64 ``(N,)``.
        after: Labels that it gives to the crafted images.
    """

    index: IntArray
    archive: AttackArchive
    before: IntArray
    after: IntArray

    @property
    def clean_wrong(self) -> BoolArray:
        """Which images were wrong before the attack."""
        return self.before != self.archive.labels

    @property
    def wrong(self) -> BoolArray:
        """Which images are wrong after it."""
        return self.after != self.archive.labels

    @property
    def reached(self) -> BoolArray:
        """Which images are where the attack wanted them."""
        return self.wrong if self.archive.targets is None else self.after == self.archive.targets

    def broken(self, norm: str) -> FloatArray:
        """Return the distance at which each image is lost, ``(N,)``."""
        found = distances(self.archive.originals, self.archive.adversarial, norm)
        return breaking_distances(found, clean_wrong=self.clean_wrong, wrong=self.wrong)


@dataclass(slots=True, kw_only=True)
class _Found:
    """What is gathered cell by cell."""

    results: list[CellResult] = field(default_factory=list[CellResult])
    worst: dict[str, Worst] = field(default_factory=dict[str, Worst])
    gallery: Gallery = field(default_factory=Gallery)


def is_campaign(path: Path) -> bool:
    """Whether a folder is a campaign's."""
    return (path / MARKER).is_file()


def gather_campaign(path: Path) -> tuple[str, Campaign]:
    """Return a campaign's name, and what its folder holds by now.

    Raises:
        InputError: The folder is no campaign's, or a file is damaged.
    """
    try:
        return _gather(path)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} is damaged: {type(error).__name__}: {error}", hint="start the campaign again, it goes on"
        ) from error


def _gather(path: Path) -> tuple[str, Campaign]:
    about, plan = read_plan(path)
    status = campaign_status(path)
    directory = CampaignDirectory(path)
    found = _Found()
    for cell, summary in zip(plan.cells, status["results"], strict=True):
        images = read_cell(directory, cell)
        found.results.append(_result(cell, summary, images))
        if images is not None:
            worst = found.worst.setdefault(cell.model, Worst(about["data"]))
            worst.add(cell.text, images.index, {norm: images.broken(norm) for norm in worst.norms})
            found.gallery.add(cell, images.archive, images.before, images.after, images.index)
    results = tuple(found.results)
    return str(about["name"]), Campaign(
        dataset=about["data"]["name"],
        first_image=about["data"]["first"],
        images=about["data"]["images"],
        images_sha256=about["data"]["sha256"],
        targets=tuple(about["replay"]["targets"]),
        finished=status["finished"],
        shards_done=status["shards"]["done"],
        shards_total=status["shards"]["total"],
        divergences=status["divergences"],
        models=tuple(_model(path, facts, found.worst.get(facts["name"])) for facts in about["models"]),
        cells=results,
        worst=tuple(case for model, worst in found.worst.items() for case in worst.cases(model, results)),
        transfers=transfer_matrices(results, status["crafted"], [facts["name"] for facts in about["models"]]),
        forms=pair_forms(results),
        pictures=found.gallery.pictures(),
        config=about["config"],
    )


def read_cell(directory: CampaignDirectory, cell: Cell) -> CellImages | None:
    """Return the images of those shards of a cell that are there, or None without any.

    Raises:
        InputError: A file is damaged.
    """
    shards = [shard for shard in cell.with_images if directory.read_record(shard.key) is not None]
    if not shards:
        return None
    folders = [directory.shard_folder(shard.key) for shard in shards]
    # The first target computes everywhere, so its answers are in the shard with the images.
    answers = [next(iter(read_answers(folder / ANSWERS).values())) for folder in folders]
    return CellImages(
        index=np.concatenate([np.arange(shard.first, shard.first + shard.count) for shard in shards]),
        archive=cell_archive(directory, cell, shards),
        before=np.concatenate([part.clean.labels for part in answers]),
        after=np.concatenate([part.adversarial.labels for part in answers]),
    )


def query_curve(images: CellImages) -> Curve:
    """Return the share of images fooled over queries, of those right at first; empty without such a curve.

    An attack that spends all it has on every image has none.
    """
    queries, right = images.archive.queries, ~images.clean_wrong
    if queries is None or not right.any() or len(np.unique(queries[right])) < 2:
        return ()
    spent = np.where(images.wrong, queries.astype(np.float64), np.inf)[right]
    return tuple((max(1.0, count), 1 - kept) for count, kept in accuracy_over_distance(spent))


def _result(cell: Cell, summary: Mapping[str, Any], images: CellImages | None) -> CellResult:
    norm = summary["norm"] or norm_of(cell.attack, cell.parameters)
    facts: dict[str, Any] = {}
    if images is not None:
        broken = images.broken(norm)
        bits = images.archive.float_success
        facts = {
            "success": float(images.reached.mean()),
            "float_success": None if bits is None or cell.source else float(bits.mean()),
            "median_distance": median_distance(broken),
            "distances": accuracy_over_distance(broken) if cell.epsilon is None else (),
            "queries": () if cell.source else query_curve(images),
        }
    return CellResult(
        model=cell.model,
        attack=cell.attack,
        title=cell.title,
        source=cell.source,
        access=_access(cell, images),
        norm=norm,
        epsilon=cell.epsilon,
        seed=cell.seed,
        parameters={key: value for key, value in summary["parameters"].items() if key not in _LEFT_OUT},
        images=summary["images"],
        images_done=summary["images_done"],
        finished=summary["finished"],
        clean=tuple(_target(entry, "clean") for entry in summary["targets"]),
        attacked=tuple(_target(entry, "adversarial") for entry in summary["targets"]),
        queries_mean=summary["queries_mean"],
        **facts,
    )


def _access(cell: Cell, images: CellImages | None) -> str:
    if cell.source:
        return TRANSFER
    return access_of(cell.attack, black_box=images is not None and images.archive.queries is not None)


def _target(entry: Mapping[str, Any], images: str) -> TargetShare:
    found = entry[images]
    return TargetShare(
        target=entry["target"],
        kind=entry["kind"],
        divergences=found["diverging_images"],
        **share(found["correct"], found["count"]).model_dump(),
    )


def _model(path: Path, facts: Mapping[str, Any], worst: Worst | None) -> ModelInfo:
    build = load_build(CampaignDirectory(path).folder(f"models/{facts['name']}"))
    clean: Share | None = None if worst is None else worst.clean()
    return ModelInfo(
        name=facts["name"],
        source=facts["source"],
        graph_hash=facts["graph_hash"],
        classes=facts["classes"],
        macs=facts["macs"],
        ii_cycles=facts["ii_cycles"],
        drawn=draws_weights(build.graph),
        clean=clean,
    )
