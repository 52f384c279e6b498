"""Where images are crafted that no model of the campaign makes: other networks, one or several at once.

A source has gradients and nothing else. So it may be a network in full precision, which no hardware
computes, and an ensemble.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bitsiege.campaign.bench import build_digest
from bitsiege.campaign.config import CampaignSource
from bitsiege.campaign.images import Images
from bitsiege.campaign.models import Model, find_source, is_build
from bitsiege.pipeline.digests import file_digest, json_digest, tree_digests
from bitsiege.pipeline.engine import Step, StepContext, run_steps
from bitsiege.pipeline.store import RunDirectory
from bitsiege.progress import Progress
from export.errors import InputError
from hw.build import load_build
from quant_models.checkpoint import load_checkpoint
from quant_models.zoo import shipped

_FOLDER = "sources"
_CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Networks that are ready to be differentiated.

    Attributes:
        name: In the results.
        members: As the configuration names them.
        path: Folder with a folder for each member.
        digest: Of its files.
        hash: Names the networks: a member's own, or one over all of them.
    """

    name: str
    members: tuple[str, ...]
    path: Path
    digest: str
    hash: str

    def facts(self) -> dict[str, Any]:
        """Return what reports need, as JSON values."""
        return {"name": self.name, "members": list(self.members), "source_hash": self.hash}


def prepare_sources(
    sources: Sequence[CampaignSource],
    models: Sequence[Model],
    images: Images,
    directory: RunDirectory,
    *,
    base: Path,
    progress: Progress,
) -> list[Source]:
    """Copy the networks of every source into the campaign's folder; what is there already is reused.

    Args:
        sources: What the configuration names.
        models: The campaign's, which a member may name.
        images: What they must take.
        directory: The campaign's folder; the caller holds its lock.
        base: What relative paths are relative to.
        progress: Who listens.

    Raises:
        InputError: A member is neither a build nor a checkpoint, or takes other images.
    """
    known = {model.name: model.build.path for model in models}
    steps = [_step(source, known, images, base) for source in sources]
    run_steps(steps, directory, progress=progress)
    prepared: list[Source] = []
    for source, step in zip(sources, steps, strict=True):
        folder = directory.folder(step.name)
        prepared.append(
            Source(
                name=source.name,
                members=source.members,
                path=folder,
                digest=build_digest(folder),
                hash=source_hash(folder),
            )
        )
    return prepared


def member_folders(folder: Path) -> list[Path]:
    """Return the folders of a source's members, in their order."""
    return sorted(path for path in folder.iterdir() if path.is_dir())


def source_hash(folder: Path) -> str:
    """Return what names the networks of a source, in hex.

    It is the graph's hash of a build, the SHA-256 of a checkpoint, or a hash over those of all members.
    """
    hashes = [
        load_build(path).graph_hash if is_build(path) else file_digest(path / _CHECKPOINT)
        for path in member_folders(folder)
    ]
    return hashes[0] if len(hashes) == 1 else json_digest({"members": hashes})


def load_source(folder: Path) -> tuple[Any, str]:
    """Return a module that gives a source's gradients, and what it is."""
    from attacks.transfer import Ensemble
    from bitsiege.crafting import Gradients, differentiable

    modules: list[Any] = []
    for path in member_folders(folder):
        if is_build(path):
            modules.append(differentiable(load_build(path), Gradients.TWIN)[0])
        else:
            modules.append(load_checkpoint(path / _CHECKPOINT).build())
    if len(modules) == 1:
        return modules[0], "another network"
    return Ensemble(modules), f"an ensemble of {len(modules)} networks"


def _step(source: CampaignSource, known: dict[str, Path], images: Images, base: Path) -> Step:
    paths = [known[member] if member in known else find_source(member, base) for member in source.members]
    for member, path in zip(source.members, paths, strict=True):
        _check(f"{member} of the source {source.name}", path, images)
    digests = [tree_digests(path) if path.is_dir() else file_digest(path) for path in paths]
    return Step(name=f"{_FOLDER}/{source.name}", settings={"members": digests}, action=partial(_copy, paths))


def _check(what: str, path: Path, images: Images) -> None:
    """Raise `InputError` unless a member is a network for the images."""
    if is_build(path):
        graph = load_build(path).graph
        images.check_fits(what, graph.input_shape, graph.classes)
    elif path.is_file():
        spec = load_checkpoint(path).spec
        images.check_fits(what, spec.input_shape, spec.classes)
    else:
        raise InputError(
            f"{what} is not there: {path} is neither a build nor a checkpoint",
            hint=f"a model of the campaign, a folder of bitsiege compile, a .safetensors file, or one of "
            f"{', '.join(shipped())}",
        )


def _copy(paths: Sequence[Path], step: StepContext) -> None:
    with step.progress.task(step.label, total=len(paths)) as task:
        for index, path in enumerate(paths):
            folder = step.folder / f"{index:03}"
            if path.is_dir():
                shutil.copytree(path, folder)
            else:
                folder.mkdir(parents=True)
                shutil.copy(path, folder / _CHECKPOINT)
            task.update(index + 1)
