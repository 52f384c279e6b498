"""From a configuration to the plan: every cell, and the keys of its shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attacks.catalog import make_attack
from attacks.substitute import SubstituteAttack
from bitsiege.campaign.config import CampaignAttack, CampaignConfig, needs_gradients
from bitsiege.campaign.digests import bytes_digest, code_digests, images_digest
from bitsiege.campaign.images import Images
from bitsiege.campaign.models import Model
from bitsiege.campaign.plan import Cell, Plan, Shard, Shared
from bitsiege.campaign.sources import Source
from bitsiege.campaign.work import FORMAT_VERSION, Role
from bitsiege.pipeline.digests import json_digest

Targets = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """A shard's images, and who computes how many of them.

    Attributes:
        first: Index of the first image.
        count: Images.
        digest: Of images and labels.
        anywhere: Targets that every worker computes.
        boards: Targets that need something of their worker.
    """

    first: int
    count: int
    digest: str
    anywhere: Targets
    boards: Targets


def make_plan(
    config: CampaignConfig, models: Sequence[Model], sources: Sequence[Source], images: Images
) -> Plan:
    """Return all cells, in the order of the configuration, then those of images from elsewhere.

    Raises:
        InputError: A model or source that doesn't fit the images.
    """
    for model in models:
        graph = model.build.graph
        images.check_fits(f"the model {model.name}", graph.input_shape, graph.classes)
    planner = _Planner(config, images)
    own = {model.name: planner.own_cells(model) for model in models}
    crafted = {source.name: planner.crafted_cells(source) for source in sources}
    makers = {**(own if config.transfer else {}), **crafted}
    transfers = [
        planner.transfer(cell, model)
        for model in models
        for name, cells in makers.items()
        if name != model.name
        for cell in cells
    ]
    return Plan(
        shared=tuple(planner.shared.values()),
        crafted=tuple(cell for cells in crafted.values() for cell in cells),
        cells=(*(cell for cells in own.values() for cell in cells), *transfers),
    )


class _Planner:
    """Makes cells, and the shards that they share."""

    def __init__(self, config: CampaignConfig, images: Images) -> None:
        self._config = config
        self._images = images
        self._ranges = _ranges(config, images)
        self.shared: dict[str, Shared] = {}

    def own_cells(self, model: Model) -> list[Cell]:
        """The cells of attacks on one model."""
        return [
            self._cell(model.name, model.digest, attack, epsilon, seed, judged=True)
            for attack in self._config.attacks
            for epsilon in attack.budgets
            for seed in attack.seeds
        ]

    def crafted_cells(self, source: Source) -> list[Cell]:
        """The cells of images that are crafted on a source, which has gradients and nothing else."""
        return [
            self._cell(source.name, source.digest, attack, epsilon, seed, judged=False)
            for attack in self._config.attacks
            if needs_gradients(attack.name)
            for epsilon in attack.budgets
            for seed in attack.seeds
        ]

    def transfer(self, cell: Cell, model: Model) -> Cell:
        """The cell in which a model judges another one's images."""
        crafts = {shard.first: shard.key for shard in cell.with_images}
        whole: list[Shard] = []
        boards: list[Shard] = []
        for part in self._ranges:
            crafting = crafts[part.first]
            about = {"transfer": crafting, "build": model.digest}
            judges = Shard(
                key=self._key({**about, "targets": part.anywhere}),
                first=part.first,
                count=part.count,
                targets=part.anywhere,
                role=Role.ATTACK,
                images=crafting,
                clean=self._clean(model.name, model.digest, part, part.anywhere, None),
            )
            whole.append(judges)
            boards += self._boards(model.name, model.digest, part, judges, crafting)
        return replace(cell, model=model.name, source=cell.model, shards=(*whole, *boards))

    def _cell(
        self,
        name: str,
        digest: str,
        attack: CampaignAttack,
        epsilon: float | None,
        seed: int,
        *,
        judged: bool,
    ) -> Cell:
        parameters = {**attack.arguments(epsilon), "seed": seed}
        oracle = "" if needs_gradients(attack.name) else attack.oracle
        settings = {"build": digest, "attack": attack.name, "parameters": parameters, "oracle": oracle}
        substitute = self._substitute(name, settings)
        whole: list[Shard] = []
        boards: list[Shard] = []
        for part in self._ranges:
            targets = part.anywhere if judged else ()
            crafts = Shard(
                key=self._key(
                    {
                        **settings,
                        "first": part.first,
                        "images": part.digest,
                        "targets": targets,
                        "substitute": substitute,
                    }
                ),
                first=part.first,
                count=part.count,
                targets=targets,
                role=Role.ATTACK,
                resource=self._config.replay.resource(oracle),
                clean=self._clean(name, digest, part, targets, None) if judged else "",
                substitute=substitute,
            )
            whole.append(crafts)
            if judged:
                boards += self._boards(name, digest, part, crafts, crafts.key)
        return Cell(
            model=name,
            attack=attack.name,
            title=attack.label,
            epsilon=epsilon,
            seed=seed,
            parameters=parameters,
            oracle=oracle,
            shards=(*whole, *boards),
        )

    def _boards(self, name: str, digest: str, part: _Range, judges: Shard, images: str) -> list[Shard]:
        """A shard for each target that needs something of its worker."""
        made: list[Shard] = []
        for target in part.boards:
            resource = self._config.replay.resource(target[0])
            made.append(
                Shard(
                    key=self._key({"baseline": judges.key, "targets": [target]}),
                    first=part.first,
                    count=part.count,
                    targets=(target,),
                    role=Role.ATTACK,
                    resource=resource,
                    images=images,
                    baseline=judges.key,
                    clean=self._clean(name, digest, part, (target,), resource),
                )
            )
        return made

    def _clean(self, name: str, digest: str, part: _Range, targets: Targets, resource: str | None) -> str:
        """The shard in which targets answer the originals, once for all cells of a model."""
        key = self._key(
            {"clean": part.digest, "build": digest, "first": part.first, "targets": targets, "role": "clean"}
        )
        shard = Shard(
            key=key,
            first=part.first,
            count=part.count,
            targets=targets,
            role=Role.CLEAN,
            resource=resource,
        )
        self.shared.setdefault(key, Shared(model=name, shard=shard))
        return key

    def _substitute(self, name: str, settings: Mapping[str, Any]) -> str:
        """The shard that trains a substitute, once for all images and budgets; empty for other attacks."""
        attack = make_attack(settings["attack"], **settings["parameters"])
        if not isinstance(attack, SubstituteAttack):
            return ""
        held_out = self._images.held_out[: attack.held_out]
        about = {
            "build": settings["build"],
            "oracle": settings["oracle"],
            "training": attack.training,
            "held_out": bytes_digest(held_out.tobytes()),
        }
        shard = Shard(
            key=self._key(about),
            first=0,
            count=len(held_out),
            targets=(),
            role=Role.SUBSTITUTE,
            resource=self._config.replay.resource(settings["oracle"]),
        )
        # The budget is there because an attack has one; the substitute doesn't depend on it.
        parameters = {**attack.training, "eps": attack.eps}
        shared = Shared(
            model=name,
            shard=shard,
            attack=attack.name,
            parameters=parameters,
            oracle=settings["oracle"],
        )
        self.shared.setdefault(shard.key, shared)
        return shard.key

    def _key(self, about: Mapping[str, Any]) -> str:
        common = {
            "format": FORMAT_VERSION,
            "code": code_digests(),
            "draw_seed": self._config.replay.draw_seed,
        }
        return json_digest({**common, **about})


def _ranges(config: CampaignConfig, images: Images) -> list[_Range]:
    replay, size, end = config.replay, config.shard_images, images.first + len(images.images)
    found: list[_Range] = []
    for first in range(images.first, end, size):
        count, offset = min(size, end - first), first - images.first
        seen = {name: min(count, replay.limits.get(name, offset + count) - offset) for name in replay.targets}
        some = [(name, number) for name, number in seen.items() if number > 0]
        found.append(
            _Range(
                first=first,
                count=count,
                digest=images_digest(*images.part(first, count)),
                anywhere=tuple(pair for pair in some if replay.resource(pair[0]) is None),
                boards=tuple(pair for pair in some if replay.resource(pair[0]) is not None),
            )
        )
    return found
