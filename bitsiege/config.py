"""The run configuration: a TOML file, checked as a whole before anything starts; one frozen object."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from bitsiege.attackconfig import AttackConfig
from bitsiege.tomlfile import Name, Section, explain, read_toml
from export.errors import InputError
from hw.boards import find_board

TargetName = Literal["torch", "qonnx", "reference", "emulator", "timing", "rtl", "netlist", "finn"]
REPLAY_TARGETS: tuple[TargetName, ...] = ("torch", "qonnx", "reference", "emulator", "rtl")
_EPSILONS = (0.02, 0.05, 0.1, 0.15, 0.2)

Width = Annotated[int, Field(ge=1, le=65536)]


class ModelConfig(Section):
    """The network: a preset, or any dense network by its sizes.

    Attributes:
        preset: Hidden sizes of ``tfc``, ``sfc`` or ``lfc``; a convolutional network: ``cnv``, or
            ``paper-cnn-F`` with F of 64, 128 or 256 and perhaps ``-scaled`` or ``-stochastic``; or a residual
            one: ``resnet-small`` or ``resnet18``; or ``paper-V-F`` with V of a, b, c or s: the published form
            of the paper's networks, which PyTorch computes and hardware doesn't. The data set gives inputs
            and classes.
        hidden: Neurons of each hidden layer, instead of a preset; without either, three layers of 64.
        input_mode: ``binary``: a pixel becomes ±1; ``uint8``: the first layer sees 8 bits.
        output_affine: Whether logits have a learnt fixed-point scale and bias.
        sign_gradient: Of a ``paper-V-F``, the gradient in a sign's place: ``clip`` clips its value, ``gate``
            lets it pass where the sign's argument lies in [-1, 1].
    """

    preset: (
        Literal[
            "tfc",
            "sfc",
            "lfc",
            "cnv",
            "paper-cnn-64",
            "paper-cnn-64-scaled",
            "paper-cnn-64-stochastic",
            "paper-cnn-128",
            "paper-cnn-128-scaled",
            "paper-cnn-128-stochastic",
            "paper-cnn-256",
            "paper-cnn-256-scaled",
            "paper-cnn-256-stochastic",
            "resnet-small",
            "resnet18",
            "paper-a-64",
            "paper-b-64",
            "paper-c-64",
            "paper-s-64",
            "paper-a-128",
            "paper-b-128",
            "paper-c-128",
            "paper-s-128",
            "paper-a-256",
            "paper-b-256",
            "paper-c-256",
            "paper-s-256",
        ]
        | None
    ) = None
    hidden: Annotated[tuple[Width, ...], Field(max_length=64)] | None = None
    input_mode: Literal["binary", "uint8"] = "uint8"
    output_affine: bool = False
    sign_gradient: Literal["clip", "gate"] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> ModelConfig:
        if self.preset is not None and self.hidden is not None:
            raise ValueError("give either preset or hidden")
        is_dense = self.preset in (None, "tfc", "sfc", "lfc")
        if not is_dense and (self.input_mode, self.output_affine) != ("uint8", False):
            raise ValueError("a convolutional preset has neither input_mode nor output_affine")
        is_published = self.preset is not None and re.fullmatch(r"paper-[abcs]-\d+", self.preset)
        if self.sign_gradient is not None and not is_published:
            raise ValueError("only the presets paper-V-F have a sign_gradient")
        return self


class DataConfig(Section):
    """The data set.

    Attributes:
        name: ``digits`` (1,797 real 8x8 images, part of scikit-learn), ``mnist``, ``fashion-mnist``,
            or ``cifar10-jpeg`` (CIFAR-10 as JPEG files: not the original pixels).
    """

    name: Literal["digits", "mnist", "fashion-mnist", "cifar10-jpeg"] = "digits"


class TrainSection(Section):
    """Training; Adam, with a learning rate that rises at first and then falls as a half cosine.

    Attributes:
        epochs: Passes over the training images, at most.
        batch_size: Images in one step.
        learning_rate: The highest.
        warmup_epochs: Epochs in which the learning rate rises.
        patience: Epochs without a better validation accuracy before it stops; 0 never stops early.
        validation_fraction: Part of the training images held out to choose the best epoch.
        shift_pixels: Largest random shift of a training image [pixels].
        rotate_degrees: Largest random rotation [degrees].
        zoom: Largest random change of size, relative.
        flip: Mirror half of the training images, left to right.
        real_weight_epochs: First epochs in which ±1 weights are left real.
        adversarial_epsilon: Train on adversarial images of this epsilon; 0 does not.
        adversarial_steps: Gradient steps to each such image: 1 is FGSM, more are PGD.
        adversarial_step_size: Change of a pixel in one step; 0 chooses it by epsilon and steps.
        adversarial_random_start: Whether the steps start at a random image of the ball.
        adversarial_random_epsilon: Whether each image has a random epsilon of its own, up to that one.
        adversarial_delay: First epochs without adversarial images.
        adversarial_ramp: Epochs after those in which epsilon rises from 0.
        adversarial_share: Weight of the adversarial images' loss; the rest is the same images' own.
        teacher: Name of a shipped network, or path of a checkpoint, to learn from; empty for none.
        distill_temperature: Divides the logits of both in the distance to the teacher.
        distill_share: Weight of that distance; the rest is the labels' loss.
        sign_noise: Noise in front of hidden signs in training: half-width or standard deviation; 0 for none.
        sign_noise_kind: ``uniform`` or ``gaussian``.
        frozen_means: Leave the means of drawn weights as they start.
        recalibration_images: Training images for BatchNorm's statistics at the end; 0 keeps averages.
        seed: Of weights, hold-out, order and distortions.
        threads: Threads of PyTorch; another number gives other roundings, so other weights.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 100
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.005
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    patience: Annotated[int, Field(ge=0)] = 0
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    shift_pixels: Annotated[float, Field(ge=0, le=1000)] = 0.0
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    flip: bool = False
    real_weight_epochs: Annotated[int, Field(ge=0)] = 0
    adversarial_epsilon: Annotated[float, Field(ge=0, le=1)] = 0.0
    adversarial_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    adversarial_step_size: Annotated[float, Field(ge=0, le=1)] = 0.0
    adversarial_random_start: bool = True
    adversarial_random_epsilon: bool = False
    adversarial_delay: Annotated[int, Field(ge=0)] = 0
    adversarial_ramp: Annotated[float, Field(ge=0)] = 0.0
    adversarial_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    teacher: str = ""
    distill_temperature: Annotated[float, Field(gt=0, le=1000)] = 4.0
    distill_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    sign_noise: Annotated[float, Field(ge=0, le=100)] = 0.0
    sign_noise_kind: Literal["uniform", "gaussian"] = "uniform"
    frozen_means: bool = False
    recalibration_images: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] = 1

    @model_validator(mode="after")
    def _fits(self) -> TrainSection:
        if self.patience and not self.validation_fraction:
            raise ValueError("patience needs a validation_fraction above 0")
        if self.warmup_epochs > self.epochs:
            raise ValueError("warmup_epochs is more than epochs")
        if self.real_weight_epochs >= self.epochs:
            raise ValueError("real_weight_epochs leaves no epoch for ±1 weights")
        if self.adversarial_delay >= self.epochs:
            raise ValueError("adversarial_delay leaves no epoch for adversarial images")
        if self.adversarial_ramp > self.epochs - self.adversarial_delay:
            raise ValueError("adversarial_delay and adversarial_ramp are more than epochs")
        return self


class ExportSection(Section):
    """Export to QONNX.

    Attributes:
        exporter: Which of Brevitas' exporters writes the file.
    """

    exporter: Literal["torchscript", "dynamo"] = "torchscript"


class CompileSection(Section):
    """Folding, clock and board.

    Attributes:
        fps: Frame rate that the folding must reach at the clock [frames/s]; the least hardware that does.
        max_luts: LUTs that the estimate must keep within; alone the best rate within them.
        folding: Folding file of FINN's form instead; relative to the configuration file. Without any of these
            and without a board, the least hardware: PE and SIMD are 1 everywhere.
        clock_mhz: Clock [MHz].
        board: Name of a board whose FPGA the design must fit; alone the best rate on it.
    """

    fps: Annotated[float, Field(gt=0)] | None = None
    max_luts: Annotated[int, Field(ge=1)] | None = None
    folding: Path | None = None
    clock_mhz: Annotated[float, Field(gt=0, le=10_000)] = 100.0
    board: Name | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> CompileSection:
        if self.folding is not None and (self.fps, self.max_luts) != (None, None):
            raise ValueError("give either folding, or fps and max_luts")
        if self.board is not None:
            try:
                find_board(self.board)
            except InputError as error:
                raise ValueError(f"{error.message}; {error.hint}") from error
        return self


class ReplaySection(Section):
    """Replay on every target.

    Attributes:
        targets: Who computes; the first one is what the others are compared with.
        images: Images of the test set to attack and replay, from its start; None takes all.
        limits: Fewer images for a slow target, such as ``{qonnx = 100}``.
        draw_seed: Of weights that the network draws for each frame; image i is frame i.
    """

    targets: Annotated[tuple[TargetName, ...], Field(min_length=1)] = REPLAY_TARGETS
    images: Annotated[int, Field(ge=1)] | None = None
    limits: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    draw_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _fits(self) -> ReplaySection:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError("a target is there twice")
        for name in self.limits:
            if name not in self.targets:
                raise ValueError(f"limits names {name!r}, which is not among targets")
        if self.targets[0] in self.limits:
            raise ValueError(f"{self.targets[0]!r} comes first, so the others need all of its images")
        return self


def _usual_attacks() -> tuple[AttackConfig, ...]:
    return (
        AttackConfig.model_validate({"name": "fgsm", "epsilons": _EPSILONS}),
        AttackConfig.model_validate({"name": "pgd", "epsilons": _EPSILONS, "steps": 20}),
    )


class RunConfig(Section):
    """A whole run.

    Attributes:
        name: Title of the run.
        model: The network.
        data: The data set.
        train: Training.
        export: Export to QONNX.
        compile: Folding, clock and board.
        attacks: Attacks, in the order of the report.
        replay: Targets.
    """

    name: Name = "demo"
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig(hidden=(64, 64, 64))
    train: TrainSection = TrainSection()
    export: ExportSection = ExportSection()
    compile: CompileSection = CompileSection(fps=1_000_000)
    attacks: Annotated[tuple[AttackConfig, ...], Field(min_length=1)] = Field(default_factory=_usual_attacks)
    replay: ReplaySection = ReplaySection()

    @model_validator(mode="after")
    def _names_are_unique(self) -> RunConfig:
        names = [attack.label for attack in self.attacks]
        if len(set(names)) != len(names):
            raise ValueError("an attack is there twice: give it all its epsilons in one table, or a label")
        return self


def default_config() -> RunConfig:
    """Return the configuration that ``bitsiege run`` takes without a file."""
    return RunConfig()


def load_config(path: Path) -> RunConfig:
    """Read and check a configuration file.

    Raises:
        InputError: It can't be read, is no TOML, or a key or value does not fit; the message has the path of
            the key.
    """
    config = parse_config(read_toml(path, example="configs/demo.toml"), where=path.name)
    folding = config.compile.folding
    if folding is not None and not folding.is_absolute():
        compile_section = config.compile.model_copy(update={"folding": path.parent / folding})
        config = config.model_copy(update={"compile": compile_section})
    return config


def parse_config(values: dict[str, Any], *, where: str) -> RunConfig:
    """Check a configuration.

    Args:
        values: The tables of the file.
        where: What to call it in messages.

    Raises:
        InputError: A key or value does not fit.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise explain(error, where, RunConfig) from error
