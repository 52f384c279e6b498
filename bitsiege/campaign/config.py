"""The campaign's configuration: models x attacks x epsilons x seeds x images, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, model_validator

from bitsiege.attackconfig import AttackTable
from bitsiege.config import CompileSection, DataConfig
from bitsiege.targets import check_target
from bitsiege.tomlfile import Name, Section, explain, read_toml
from export.errors import InputError

EXAMPLE = "docs/campaigns.md"
DEFAULT_ORACLE = "emulator"
_BOARD_TARGETS = ("pynq", "remote")

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1)]


class CampaignData(DataConfig):
    """Which images of the data set's test part.

    Attributes:
        name: As in ``bitsiege run``.
        first: Index of the first image.
        images: How many; None takes all from there on.
    """

    first: Annotated[int, Field(ge=0)] = 0
    images: Count | None = None


class CampaignModel(Section):
    """One network.

    Attributes:
        source: A build directory, a checkpoint, or the name of a network that ships with bitsiege; a path is
            relative to the configuration file.
        name: Its name in the results; the last part of ``source`` without it.
        compile: How a checkpoint is compiled; a build directory is taken as it is.
    """

    source: Annotated[str, Field(min_length=1)]
    name: Name
    compile: CompileSection | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_it(cls, values: Any) -> Any:
        if isinstance(values, dict) and "name" not in values and isinstance(values.get("source"), str):
            source = Path(values["source"])
            name = source.stem if source.suffix == ".safetensors" else source.name
            return {**values, "name": name}
        return values


class CampaignAttack(AttackTable):
    """One attack, at each epsilon and each seed.

    Attributes:
        seeds: Of everything random.
        oracle: Target that a black-box attack asks.
    """

    elsewhere: ClassVar[Mapping[str, str]] = {"eps": "epsilons", "seed": "seeds"}

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1024)] = (0,)
    oracle: str = DEFAULT_ORACLE

    @model_validator(mode="after")
    def _can_be_done(self) -> CampaignAttack:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed is there twice")
        try:
            check_target(self.oracle)
        except InputError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        return self


class CampaignSource(Section):
    """Networks whose images the models must withstand: one, or several that are attacked together.

    Every attack that needs gradients is crafted on it. It may be a network in full precision.

    Attributes:
        name: Its name in the results.
        members: Each a model of the campaign by its name, a checkpoint, a build directory, or a network that
            ships with bitsiege; a path is relative to the configuration file.
    """

    name: Name
    members: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=64)]


class CampaignReplay(Section):
    """Who computes the attacked images.

    Attributes:
        targets: The first one is what the others are compared with.
        limits: Fewer images for a slow target, from the start: ``{rtl = 100}``.
        resources: What a target needs of a worker: ``{pynq = "board-Pynq-Z2"}``. The work for such a target
            goes one by one to a worker that offers it.
        draw_seed: Of weights that the network draws for each frame; image i of the data set is frame i.
    """

    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("emulator",)
    limits: dict[str, Count] = Field(default_factory=dict)
    resources: dict[str, Name] = Field(default_factory=dict)
    draw_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _fits(self) -> CampaignReplay:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError("a target is there twice")
        for name in self.targets:
            try:
                check_target(name)
            except InputError as error:
                raise ValueError(f"{error.message}; {error.hint}") from error
        for what, names in (("limits", self.limits), ("resources", self.resources)):
            for name in names:
                if name not in self.targets:
                    raise ValueError(f"{what} names {name!r}, which is not among targets")
        first = self.targets[0]
        if first in self.limits:
            raise ValueError(f"{first!r} comes first, so the others need all of its images")
        if self.resource(first) is not None:
            raise ValueError(f"{first!r} comes first and must be one that every worker can compute")
        return self

    def resource(self, target: str) -> str | None:
        """What a worker must offer to compute a target; None where any worker can."""
        return self.resources.get(target, "board" if target in _BOARD_TARGETS else None)


class CampaignConfig(Section):
    """A whole campaign.

    Attributes:
        name: Title.
        data: The images.
        models: The networks.
        sources: Other networks to craft images on.
        transfer: Whether each model also judges the images that were crafted on the other ones.
        attacks: The attacks.
        replay: Targets.
        shard_images: Images in one piece of work. Gradient attacks work on 256 at a time, so a shard of fewer
            takes as long; results may depend on this number only for networks that draw their weights, and
            cycles, where each shard begins with an empty pipeline.
    """

    name: Name = "campaign"
    data: CampaignData = CampaignData()
    models: Annotated[tuple[CampaignModel, ...], Field(min_length=1)]
    sources: Annotated[tuple[CampaignSource, ...], Field(max_length=64)] = ()
    transfer: bool = False
    attacks: Annotated[tuple[CampaignAttack, ...], Field(min_length=1)]
    replay: CampaignReplay = CampaignReplay()
    shard_images: Annotated[int, Field(ge=1, le=65536)] = 256

    @property
    def held_out(self) -> int:
        """Most images of the training set that an attacker trains a substitute on."""
        # torch comes with it, which commands that read no configuration needn't load.
        from attacks.catalog import make_attack

        made = [make_attack(attack.name, **attack.arguments(attack.budgets[0])) for attack in self.attacks]
        return max((getattr(attack, "held_out", 0) for attack in made), default=0)

    @model_validator(mode="after")
    def _names_are_unique(self) -> CampaignConfig:
        names = [part.name for part in (*self.models, *self.sources)]
        if len(set(names)) != len(names):
            what = "models or sources" if self.sources else "models"
            raise ValueError(f"two {what} have one name: give them a name each")
        if self.sources and not any(needs_gradients(attack.name) for attack in self.attacks):
            raise ValueError("sources have gradients only, and no attack here takes gradients")
        labels = [attack.label for attack in self.attacks]
        if len(set(labels)) != len(labels):
            raise ValueError("two attacks have one name: give them a label each")
        return self


def needs_gradients(name: str) -> bool:
    """Whether the named attack differentiates a network."""
    # torch comes with it, which commands that read no configuration needn't load.
    from attacks.catalog import ATTACKS
    from attacks.gradient import GradientAttack

    return issubclass(ATTACKS[name], GradientAttack)


def load_campaign(path: Path) -> CampaignConfig:
    """Read and check a campaign's file.

    Raises:
        InputError: It can't be read, is no TOML, or a key or value does not fit; the message has the path of
            the key.
    """
    return parse_campaign(read_toml(path, example=EXAMPLE), where=path.name)


def parse_campaign(values: dict[str, Any], *, where: str) -> CampaignConfig:
    """Check a campaign.

    Args:
        values: The tables of the file.
        where: What to call it in messages.

    Raises:
        InputError: A key or value does not fit.
    """
    try:
        return CampaignConfig.model_validate(values)
    except ValidationError as error:
        raise explain(error, where, CampaignConfig) from error
