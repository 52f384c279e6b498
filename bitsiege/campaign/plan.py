"""What a campaign consists of: cells, each of one model, attack, epsilon and seed, in shards of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attacks.catalog import ATTACKS
from attacks.query import QueryAttack
from bitsiege.campaign.config import CampaignAttack, CampaignConfig
from bitsiege.campaign.digests import code_digests, images_digest
from bitsiege.campaign.models import Model
from bitsiege.campaign.work import FORMAT_VERSION, Work
from bitsiege.pipeline.digests import json_digest
from export.errors import InputError
from export.graph import IntArray
from hw.target import ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One piece of a cell.

    Attributes:
        key: Hash of everything that decides its files.
        first: Index of its first image in the data set.
        count: Its images.
        targets: Who computes, and how many of its images.
        resource: What a worker must offer; None for any worker.
        after: Key of the shard that crafts its images; empty where it crafts them itself.
    """

    key: str
    first: int
    count: int
    targets: tuple[tuple[str, int], ...]
    resource: str | None = None
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One attack with one epsilon and one seed on one model.

    Attributes:
        model: Name of the model.
        attack: Name of the attack.
        title: Its name in the results.
        epsilon: Budget; None where the attack looks for the smallest change.
        seed: Of everything random.
        parameters: All that `attacks.catalog.make_attack` takes.
        oracle: Target that a black-box attack asks; empty for an attack that asks none.
        shards: Its pieces: those that craft in the order of the images, then those of boards.
    """

    model: str
    attack: str
    title: str
    epsilon: float | None
    seed: int
    parameters: Mapping[str, Any]
    oracle: str
    shards: tuple[Shard, ...]

    @property
    def folder(self) -> str:
        """Its place below the campaign's folder."""
        budget = "smallest" if self.epsilon is None else f"eps-{self.epsilon!r}"
        return f"results/{self.model}/{self.title}/{budget}-seed-{self.seed}"

    @property
    def key(self) -> str:
        """Hash of all that decides its result."""
        return json_digest({"format": FORMAT_VERSION, "shards": [shard.key for shard in self.shards]})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """The images of a campaign.

    Attributes:
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``.
        first: Index of the first one in the data set.
    """

    images: ImageArray
    labels: IntArray
    first: int

    def part(self, first: int, count: int) -> tuple[ImageArray, IntArray]:
        """Return ``count`` images from index ``first`` of the data set on."""
        begin = first - self.first
        return self.images[begin : begin + count], self.labels[begin : begin + count]


def make_plan(config: CampaignConfig, models: Sequence[Model], images: Images) -> list[Cell]:
    """Return all cells, in the order of the configuration.

    Raises:
        InputError: A model that doesn't fit the images.
    """
    digests = [
        (first, count, images_digest(*images.part(first, count))) for first, count in _ranges(config, images)
    ]
    cells: list[Cell] = []
    for model in models:
        _check_fits(model, images)
        for attack in config.attacks:
            for epsilon in attack.budgets:
                for seed in attack.seeds:
                    cells.append(_cell(config, model, attack, epsilon, seed, digests))
    return cells


def make_work(shard: Shard, cell: Cell, model: Model, images: Images, *, draw_seed: int) -> Work:
    """Return what a worker needs to compute a shard, without the files of the one that it comes after."""
    pixels, labels = images.part(shard.first, shard.count)
    return Work(
        key=shard.key,
        build=model.digest,
        attack=cell.attack,
        parameters=dict(cell.parameters),
        oracle=cell.oracle,
        images=pixels,
        labels=labels,
        first=shard.first,
        targets=shard.targets,
        draw_seed=draw_seed,
        code=code_digests(),
    )


def _ranges(config: CampaignConfig, images: Images) -> list[tuple[int, int]]:
    size, end = config.shard_images, images.first + len(images.images)
    return [(first, min(size, end - first)) for first in range(images.first, end, size)]


def _check_fits(model: Model, images: Images) -> None:
    graph = model.build.graph
    shape = images.images.shape[1:]
    if graph.input_shape != shape:
        raise InputError(
            f"the model {model.name} takes images of shape {graph.input_shape}, the data set has {shape}",
            hint="one campaign has one data set; make another one for other images",
        )
    if int(images.labels.max()) >= graph.classes:
        raise InputError(
            f"the model {model.name} has {graph.classes} classes, but an image has label "
            f"{int(images.labels.max())}"
        )


def _cell(
    config: CampaignConfig,
    model: Model,
    attack: CampaignAttack,
    epsilon: float | None,
    seed: int,
    ranges: Sequence[tuple[int, int, str]],
) -> Cell:
    parameters = {**attack.arguments(epsilon), "seed": seed}
    asks = issubclass(ATTACKS[attack.name], QueryAttack)
    oracle = attack.oracle if asks else ""
    settings = {
        "format": FORMAT_VERSION,
        "code": code_digests(),
        "build": model.digest,
        "attack": attack.name,
        "parameters": parameters,
        "oracle": oracle,
        "draw_seed": config.replay.draw_seed,
    }
    crafting: list[Shard] = []
    boards: list[Shard] = []
    for first, count, digest in ranges:
        about = {**settings, "first": first, "images": digest}
        shards = _shards(config, about, first, count)
        crafting.append(shards[0])
        boards.extend(shards[1:])
    return Cell(
        model=model.name,
        attack=attack.name,
        title=attack.label,
        epsilon=epsilon,
        seed=seed,
        parameters=parameters,
        oracle=oracle,
        shards=(*crafting, *boards),
    )


def _shards(config: CampaignConfig, about: Mapping[str, Any], first: int, count: int) -> list[Shard]:
    """The shard that crafts some images, and one for each target that needs something of its worker."""
    replay, offset = config.replay, first - config.data.first
    counts = {name: min(count, replay.limits.get(name, offset + count) - offset) for name in replay.targets}
    anywhere = tuple(
        (name, seen) for name, seen in counts.items() if seen > 0 and replay.resource(name) is None
    )
    crafts = Shard(
        key=json_digest({**about, "targets": [list(pair) for pair in anywhere]}),
        first=first,
        count=count,
        targets=anywhere,
        resource=replay.resource(about["oracle"]),
    )
    boards = [
        Shard(
            key=json_digest({"format": FORMAT_VERSION, "after": crafts.key, "targets": [[name, seen]]}),
            first=first,
            count=count,
            targets=((name, seen),),
            resource=replay.resource(name),
            after=crafts.key,
        )
        for name, seen in counts.items()
        if seen > 0 and replay.resource(name) is not None
    ]
    return [crafts, *boards]
