"""What a campaign consists of: cells, each of one attack on one model, in shards of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bitsiege.campaign.work import FORMAT_VERSION
from bitsiege.pipeline.digests import json_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One piece of work.

    Attributes:
        key: Hash of everything that decides its files.
        first: Index of its first image in the data set.
        count: Its images.
        targets: Who computes, and how many of its images.
        role: What is done, one of `bitsiege.campaign.work.Role`.
        resource: What a worker must offer; None for any worker.
        images: Key of the shard that crafts its images; empty where it crafts them itself.
        baseline: Key of the shard whose first target the others are compared with; empty where that is its
            own first target.
        clean: Key of the shard with the targets' answers to the originals.
        substitute: Key of the shard that trains the substitute that it attacks.
    """

    key: str
    first: int
    count: int
    targets: tuple[tuple[str, int], ...]
    role: str
    resource: str | None = None
    images: str = ""
    baseline: str = ""
    clean: str = ""
    substitute: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the shards whose files it reads."""
        keys = (self.images, self.baseline, self.clean, self.substitute)
        return tuple(dict.fromkeys(key for key in keys if key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One attack with one epsilon and one seed, judged on one model.

    Attributes:
        model: Name of the model, or of the source that its images are crafted on if no model judges them.
        attack: Name of the attack.
        title: Its name in the results.
        epsilon: Budget; None where the attack looks for the smallest change.
        seed: Of everything random.
        parameters: All that `attacks.catalog.make_attack` takes.
        oracle: Target that a black-box attack asks; empty for an attack that asks none.
        shards: Its pieces: those with all of its images in order, then those of boards.
        source: Model or source that the images are crafted on, if it is another one.
    """

    model: str
    attack: str
    title: str
    epsilon: float | None
    seed: int
    parameters: Mapping[str, Any]
    oracle: str
    shards: tuple[Shard, ...]
    source: str = ""

    @property
    def text(self) -> str:
        """Its attack in the results, with the source of the images if that is another model."""
        return attack_text(self.title, self.source)

    @property
    def folder(self) -> str:
        """Its place below the campaign's folder."""
        return self._folder(self.model, f"-from-{self.source}" if self.source else "")

    @property
    def images_folder(self) -> str:
        """Where the archive of its images is: the folder of the cell that crafts them."""
        return self._folder(self.source or self.model, "")

    @property
    def key(self) -> str:
        """Hash of all that decides its result."""
        return json_digest({"format": FORMAT_VERSION, "shards": [shard.key for shard in self.shards]})

    @property
    def with_images(self) -> tuple[Shard, ...]:
        """The shards that together have each of its images once."""
        return tuple(shard for shard in self.shards if not shard.baseline)

    def _folder(self, model: str, end: str) -> str:
        budget = "smallest" if self.epsilon is None else f"eps-{self.epsilon!r}"
        return f"results/{model}/{self.title}/{budget}-seed-{self.seed}{end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A shard whose files serve many cells of one model.

    Attributes:
        model: Name of the model.
        shard: The work.
        attack: Name of the attack that it is for, if it is for one.
        parameters: Of that attack, those that decide.
        oracle: Target that is asked; empty where that are the shard's targets.
    """

    model: str
    shard: Shard
    attack: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    oracle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a campaign computes.

    Attributes:
        shared: What many cells read.
        crafted: Cells of sources: images that are crafted there and judged by the models.
        cells: The results.
    """

    shared: tuple[Shared, ...]
    crafted: tuple[Cell, ...]
    cells: tuple[Cell, ...]

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """Those of sources first."""
        return (*self.crafted, *self.cells)

    def pieces(self) -> Iterator[tuple[Shard, Cell | Shared]]:
        """Return all shards in the order of the work, with what they belong to."""
        for part in self.shared:
            yield part.shard, part
        for cell in self.all_cells:
            for shard in cell.shards:
                yield shard, cell

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: The values have another form.
        """
        return cls(
            shared=tuple(Shared(**{**part, "shard": _shard(part["shard"])}) for part in values["shared"]),
            crafted=tuple(_cell(cell) for cell in values["crafted"]),
            cells=tuple(_cell(cell) for cell in values["cells"]),
        )


def attack_text(title: str, source: str) -> str:
    """Return an attack's name in the results, with the source of the images if that is another model."""
    return f"{title} from {source}" if source else title


def _shard(values: Mapping[str, Any]) -> Shard:
    return Shard(**{**values, "targets": tuple((name, count) for name, count in values["targets"])})


def _cell(values: Mapping[str, Any]) -> Cell:
    return Cell(**{**values, "shards": tuple(_shard(shard) for shard in values["shards"])})
