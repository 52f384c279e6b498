"""The campaign's networks: compiled where needed, kept in its folder, and described."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bitsiege.building import compile_model, estimate_cost, export_checkpoint
from bitsiege.campaign.bench import build_digest
from bitsiege.campaign.config import CampaignModel
from bitsiege.campaign.digests import OUR_PACKAGES
from bitsiege.config import CompileSection
from bitsiege.pipeline.digests import file_digest, tree_digests
from bitsiege.pipeline.engine import Step, StepContext, run_steps
from bitsiege.pipeline.store import RunDirectory
from bitsiege.progress import Progress
from export.errors import InputError
from hw.build import Build, load_build
from hw.timing import predict
from quant_models.zoo import shipped, shipped_path

_FOLDER = "models"
_ABOUT = "build.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A network that is ready to be attacked.

    Attributes:
        name: In the results.
        source: As the configuration names it.
        build: The compiled network.
        digest: Of the build's files.
    """

    name: str
    source: str
    build: Build
    digest: str

    @property
    def path(self) -> Path:
        """The build's folder."""
        return self.build.path

    def facts(self) -> dict[str, Any]:
        """Return what reports and comparisons need, as JSON values; cycles by the timing formula."""
        build = self.build
        timing = predict(build.graph, build.folding)
        estimate = estimate_cost(build.graph, build.folding)
        return {
            "name": self.name,
            "source": self.source,
            "graph_hash": build.graph_hash,
            "input_shape": list(build.graph.input_shape),
            "classes": build.graph.classes,
            "macs": build.graph.macs,
            "clock_mhz": build.clock_mhz,
            "board": build.board,
            "ii_cycles": timing.ii_cycles,
            "latency_cycles": timing.latency_cycles,
            "resources": None if estimate is None else estimate.to_json(),
        }


def prepare_models(
    models: Sequence[CampaignModel],
    directory: RunDirectory,
    *,
    base: Path,
    progress: Progress,
) -> list[Model]:
    """Copy or compile every network into the campaign's folder; what is there already is reused.

    Args:
        models: What the configuration names.
        directory: The campaign's folder; the caller holds its lock.
        base: What relative paths are relative to.
        progress: Who listens.

    Raises:
        InputError: A source is neither a build nor a checkpoint, or it can't be compiled.
    """
    steps = [_step(model, base) for model in models]
    run_steps(steps, directory, progress=progress)
    prepared: list[Model] = []
    for model, step in zip(models, steps, strict=True):
        folder = directory.folder(step.name)
        prepared.append(
            Model(name=model.name, source=model.source, build=load_build(folder), digest=build_digest(folder))
        )
    return prepared


def _step(model: CampaignModel, base: Path) -> Step:
    path = find_source(model.source, base)
    name = f"{_FOLDER}/{model.name}"
    if is_build(path):
        if model.compile is not None:
            raise InputError(f"{path} is a build, which is compiled already", hint="leave compile out")
        load_build(path)
        return Step(name=name, settings={"files": tree_digests(path)}, action=partial(_copy, path))
    if not path.is_file():
        raise InputError(
            f"the model {model.name} has no source: {path} is neither a build nor a checkpoint",
            hint=f"a folder of bitsiege compile, a .safetensors file, or one of {', '.join(shipped())}",
        )
    section = model.compile or CompileSection()
    if section.folding is not None and not section.folding.is_absolute():
        section = section.model_copy(update={"folding": base / section.folding})
    settings = section.model_dump(mode="json")
    if section.folding is not None:
        settings["folding"] = file_digest(section.folding)
    return Step(
        name=name,
        settings={"checkpoint": file_digest(path), "compile": settings},
        packages=OUR_PACKAGES,
        distributions=("torch", "brevitas", "onnx", "onnxscript", "numpy"),
        action=partial(_compile, path, section),
    )


def is_build(path: Path) -> bool:
    """Whether a folder is a compiled network."""
    return (path / _ABOUT).is_file()


def find_source(source: str, base: Path) -> Path:
    """Return what a source names: a path from ``base`` on, else a network that ships with the package."""
    path = base / source
    return shipped_path(source) if not path.exists() and source in shipped() else path


def _copy(source: Path, step: StepContext) -> None:
    with step.progress.task(step.label, total=1):
        shutil.copytree(source, step.folder, dirs_exist_ok=True)


def _compile(checkpoint: Path, section: CompileSection, step: StepContext) -> None:
    model = step.scratch / "model.onnx"
    with step.progress.task(step.label, total=1):
        step.scratch.mkdir(parents=True, exist_ok=True)
        export_checkpoint(checkpoint, model, exporter="torchscript")
        compile_model(
            model,
            step.folder,
            fps=section.fps,
            max_luts=section.max_luts,
            folding=section.folding,
            clock_mhz=section.clock_mhz,
            board=section.board,
            checkpoint=checkpoint,
        )
