"""A campaign from its configuration to its results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitsiege.campaign.answers import ANSWERS
from bitsiege.campaign.config import CampaignConfig
from bitsiege.campaign.digests import code_digests, images_digest
from bitsiege.campaign.eta import Eta
from bitsiege.campaign.executors import Executor, Order
from bitsiege.campaign.images import Images, load_images
from bitsiege.campaign.known import CLEAN
from bitsiege.campaign.merge import merge_cell, merged_result
from bitsiege.campaign.models import Model, prepare_models
from bitsiege.campaign.plan import Cell, Plan, Shard, Shared
from bitsiege.campaign.planning import make_plan
from bitsiege.campaign.sources import Source, prepare_sources
from bitsiege.campaign.store import MARKER, PLAN, SUMMARY, CampaignDirectory, read_plan
from bitsiege.campaign.summary import summarise
from bitsiege.campaign.work import ARCHIVE, SUBSTITUTE, Files, Role, Work
from bitsiege.pipeline.digests import distribution_version
from bitsiege.pipeline.store import write_json
from bitsiege.progress import Progress
from export.errors import InputError

TIMINGS = "timing.json"
_POLL_S = 0.5
_SUMMARY_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Files that work is about: those of a model's build or of a source.

    Attributes:
        path: The folder.
        digest: Of its files.
    """

    path: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the machine gives, which decides no result.

    Attributes:
        base: What relative paths in the configuration are relative to.
        data_dir: Folder with data sets.
        command: What was typed.
    """

    base: Path
    data_dir: Path | None = None
    command: str = ""


def run_campaign(
    config: CampaignConfig,
    path: Path,
    *,
    surroundings: Surroundings,
    make_executor: Callable[[], Executor],
    progress: Progress,
) -> dict[str, Any]:
    """Run a campaign, or the rest of it.

    Args:
        config: What to do.
        path: Its folder; it is created, or goes on where it stopped.
        surroundings: What the machine gives.
        make_executor: Called if there is anything to compute.
        progress: Who listens.

    Returns:
        What ``campaign.json`` holds.

    Raises:
        BitsiegeError: A shard failed; those that are done are kept.
    """
    directory = CampaignDirectory(path)
    directory.open()
    with directory.locked():
        directory.sweep_leftovers()
        write_json(path / MARKER, {"kind": "campaign", "name": config.name})
        images = load_images(config, surroundings.data_dir)
        base = surroundings.base
        models = prepare_models(config.models, directory, base=base, progress=progress)
        sources = prepare_sources(config.sources, models, images, directory, base=base, progress=progress)
        plan = make_plan(config, models, sources, images)
        about = _about(config, models, sources, images)
        write_json(path / PLAN, {"about": about, "plan": plan.to_json()})
        places = {part.name: Place(path=part.path, digest=part.digest) for part in (*models, *sources)}
        run = _Run(directory, config, about, plan, places, images)
        run.finish(make_executor, progress)
        summary = run.write_summary()
        _write_timing(directory, plan, surroundings)
    return summary


def campaign_status(path: Path) -> dict[str, Any]:
    """Return what a campaign's folder holds by now, finished or not; it may be running.

    Raises:
        InputError: The folder is no campaign's.
    """
    about, plan = read_plan(path)
    directory = CampaignDirectory(path)
    return summarise(about, plan, directory.read_record, lambda cell: merged_result(directory, cell))


class _Run:
    """One process's part in a campaign."""

    def __init__(
        self,
        directory: CampaignDirectory,
        config: CampaignConfig,
        about: dict[str, Any],
        plan: Plan,
        places: Mapping[str, Place],
        images: Images,
    ) -> None:
        self._directory = directory
        self._config = config
        self._about = about
        self._plan = plan
        self._places = places
        self._images = images
        self._records: dict[str, dict[str, Any]] = {}
        self._merged: dict[str, dict[str, Any]] = {}
        self._written_s = time.monotonic()
        # Two entries with other names but equal settings share their shards.
        self._pieces: dict[str, tuple[Shard, Cell | Shared]] = {}
        self._owners: dict[str, list[Cell]] = {}
        for shard, part in plan.pieces():
            self._pieces.setdefault(shard.key, (shard, part))
            if isinstance(part, Cell):
                self._owners.setdefault(shard.key, []).append(part)

    def finish(self, make_executor: Callable[[], Executor], progress: Progress) -> None:
        """Compute what is missing, and merge each cell that is whole."""
        for key in self._pieces:
            record = self._directory.read_record(key)
            if record is not None:
                self._records[key] = record
        for cell in self._plan.all_cells:
            self._merge(cell)
        waiting = deque(key for key in self._pieces if key not in self._records)
        self.write_summary()
        if waiting:
            total = len(self._pieces)
            if self._records:
                progress.note(f"{len(self._records)} of {total} shards are there already")
            with progress.task("shards", total=total) as task, _closing(make_executor()) as executor:
                self._work(executor, waiting, Eta(task, len(self._records), total))

    def write_summary(self) -> dict[str, Any]:
        """Write ``campaign.json`` as things stand."""
        summary = summarise(
            self._about, self._plan, self._records.get, lambda cell: self._merged.get(cell.folder)
        )
        write_json(self._directory.path / SUMMARY, summary)
        self._written_s = time.monotonic()
        return summary

    def _work(self, executor: Executor, waiting: deque[str], eta: Eta) -> None:
        flying: set[str] = set()
        while waiting or flying:
            self._submit(executor, waiting, flying)
            for key, files in executor.collect(_POLL_S):
                flying.remove(key)
                self._keep(key, files)
                for cell in self._owners.get(key, ()):
                    self._merge(cell)
                eta.update(len(self._records))
            if time.monotonic() - self._written_s > _SUMMARY_INTERVAL_S:
                self.write_summary()

    def _submit(self, executor: Executor, waiting: deque[str], flying: set[str]) -> None:
        """Hand out what can be computed now, in order; what can't stays."""
        for _ in range(len(waiting)):
            if not executor.accepts(None):
                return
            key = waiting.popleft()
            shard = self._pieces[key][0]
            ready = all(needed in self._records for needed in shard.needs)
            if ready and executor.accepts(shard.resource):
                executor.submit(self._order(*self._pieces[key]))
                flying.add(key)
            else:
                waiting.append(key)

    def _order(self, shard: Shard, part: Cell | Shared) -> Order:
        place = self._places[part.model]
        if shard.role == Role.SUBSTITUTE:
            pixels = self._images.held_out[: shard.count]
            labels = np.zeros(len(pixels), np.int64)
        else:
            pixels, labels = self._images.part(shard.first, shard.count)
        work = Work(
            key=shard.key,
            build=place.digest,
            role=shard.role,
            attack=part.attack,
            parameters=dict(part.parameters),
            oracle=part.oracle,
            images=pixels,
            labels=labels,
            first=shard.first,
            targets=shard.targets,
            draw_seed=self._config.replay.draw_seed,
            code=code_digests(),
            crafted=self._file(shard.images, ARCHIVE),
            baseline=self._file(shard.baseline, ANSWERS),
            clean=self._file(shard.clean, CLEAN),
            substitute=self._file(shard.substitute, SUBSTITUTE),
        )
        return Order(work=work, path=place.path, resource=shard.resource)

    def _file(self, key: str, name: str) -> bytes | None:
        return self._directory.read_file(key, name) if key else None

    def _keep(self, key: str, files: Files) -> None:
        self._directory.write_shard(key, files)
        record = self._directory.read_record(key)
        if record is None:
            raise InputError(f"the shard {key} came back damaged", hint="the same command goes on")
        self._records[key] = record

    def _merge(self, cell: Cell) -> None:
        if all(shard.key in self._records for shard in cell.shards):
            found = merged_result(self._directory, cell)
            order = self._config.replay.targets
            self._merged[cell.folder] = found or merge_cell(self._directory, cell, order=order)


@contextmanager
def _closing(executor: Executor) -> Generator[Executor]:
    try:
        yield executor
    finally:
        executor.close()


def _about(
    config: CampaignConfig, models: Sequence[Model], sources: Sequence[Source], images: Images
) -> dict[str, Any]:
    return {
        "name": config.name,
        "data": {
            "name": config.data.name,
            "first": images.first,
            "images": len(images.images),
            "sha256": images_digest(images.images, images.labels),
        },
        "models": [model.facts() for model in models],
        "sources": [source.facts() for source in sources],
        "replay": config.replay.model_dump(mode="json"),
        "shard_images": config.shard_images,
        "config": config.model_dump(mode="json", exclude_none=True),
    }


def _write_timing(directory: CampaignDirectory, plan: Plan, surroundings: Surroundings) -> None:
    """Write what depends on the machine: never part of a result."""
    shards = {shard.key: directory.read_timing(shard.key) for shard, _ in plan.pieces()}
    timing = {
        "command": surroundings.command,
        "bitsiege": distribution_version("bitsiege"),
        "seconds": sum(float(found.get("seconds", 0)) for found in shards.values()),
        "workers": sorted({str(found["worker"]) for found in shards.values() if "worker" in found}),
        "shards": shards,
    }
    write_json(directory.path / TIMINGS, timing)
