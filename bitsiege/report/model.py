"""The report's data, as ``report.json`` holds it. A change that breaks readers raises `SCHEMA_VERSION`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bitsiege.report.findingmodels import Findings
from bitsiege.report.record import Record

SCHEMA_VERSION = 1


class DatasetInfo(Record):
    """Which images.

    Attributes:
        name: Name of the data set.
        input_shape: Height, width and channels.
        train_images: Images trained on.
        test_images: Images that the network never saw.
        replayed_images: How many of those were attacked and replayed.
    """

    name: str
    input_shape: tuple[int, int, int]
    train_images: int
    test_images: int
    replayed_images: int


class Layer(Record):
    """One node of the dataflow graph.

    Attributes:
        name: Its name in the graph.
        op_type: Thresholding, Flatten or Mvau.
        in_type: Type of the stream that it reads.
        out_type: Type of the stream that it writes.
        inputs: Values of a frame that it reads; MW for an Mvau.
        outputs: Values of a frame that it writes; MH for an Mvau.
        weight_type: Type of the weights, for an Mvau.
        pe: Processing elements: neurons at a time.
        simd: Inputs at a time of each processing element.
        cycles: Cycles that it takes for one frame; None where it takes no time of its own.
        macs: Multiply-accumulates of one frame.
        bottleneck: Whether it sets the initiation interval.
    """

    name: str
    op_type: str
    in_type: str
    out_type: str
    inputs: int
    outputs: int
    weight_type: str | None = None
    pe: int | None = None
    simd: int | None = None
    cycles: int | None = None
    macs: int = 0
    bottleneck: bool = False


class Hardware(Record):
    """The compiled network.

    Attributes:
        graph_hash: SHA-256 of what the network computes.
        layers: The nodes, in the order of the data.
        macs: Multiply-accumulates of one frame.
        clock_mhz: Clock that it was compiled for [MHz].
        board: Board that it was compiled for.
        ii_cycles: Initiation interval: cycles from one frame to the next, by the timing formula.
        latency_cycles: Cycles of a frame that travels alone, by the timing formula.
        frames_per_second: Clock over initiation interval.
    """

    graph_hash: str
    layers: tuple[Layer, ...]
    macs: int
    clock_mhz: float
    board: str | None
    ii_cycles: int
    latency_cycles: int
    frames_per_second: float


class TargetInfo(Record):
    """A target that took part.

    Attributes:
        name: Its name.
        kind: Simulation, cycle-accurate, or hardware.
        first_images: It replayed only this many images of each set; None means all.
        first_latency_cycles: Measured cycles of an image that meets an empty pipeline; None without clock.
        ii_cycles: Measured cycles from one result to the next in a full pipeline; None without clock.
    """

    name: str
    kind: str
    first_images: int | None = None
    first_latency_cycles: int | None = None
    ii_cycles: float | None = None


class TargetResult(Record):
    """What one target answered for one set of images.

    Attributes:
        target: Its name.
        images: Images that it computed.
        correct: Images with the right label.
        accuracy: ``correct / images``.
        divergences: Images with a logit that differs from the first target's.
        logits: Logits that were compared.
        cycles_per_image: Cycles from an image's first beat in to its last beat out, in a full pipeline; None
            without clock.
        images_per_second: Images over wall time on the machine that ran it.
    """

    target: str
    images: int
    correct: int
    accuracy: float
    divergences: int
    logits: int
    cycles_per_image: float | None = None
    images_per_second: float | None = None


class Divergence(Record):
    """The first place where two targets disagree.

    Attributes:
        target: Who differs from the first target.
        image: Index of the image in the set.
        layer: Name of the node, where a trace found it.
        channel: Channel of that node, or class of the logits.
        text: The same in words.
    """

    target: str
    image: int
    layer: str | None = None
    channel: int | None = None
    text: str


class Point(Record):
    """All targets on one set of images: the clean ones, or those of one attack at one epsilon.

    Attributes:
        attack: Name of the attack; ``clean`` for none.
        epsilon: Budget in the unit of the norm; 0 for clean. An attack without one has the largest distance.
        pixel_steps: The same in whole numbers: steps of 8 bits for L∞, squared steps for L2, pixels for L0.
        norm: What the budget measures: linf, l2 or l0.
        bounded: Whether the attack had a budget; without one it looked for the smallest change.
        distances: Of an attack without a budget: accuracy as a staircase over distance, by the first target.
        parameters: What else the attack was given.
        archive_sha256: Hash of the file with the images; None for clean.
        results: One entry a target.
        divergences: First differences, at most one a target.
    """

    attack: str
    epsilon: float
    pixel_steps: int
    norm: str = "linf"
    bounded: bool = True
    distances: tuple[tuple[float, float], ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    archive_sha256: str | None = None
    results: tuple[TargetResult, ...]
    divergences: tuple[Divergence, ...] = ()


class Example(Record):
    """One attacked image.

    Attributes:
        attack: Name of the attack.
        epsilon: Its epsilon.
        norm: What it measures.
        bounded: Whether the attack had a budget.
        image: Index in the set.
        label: The right label.
        before: Label that the network gave to the original.
        after: Label that it gives to the adversarial image.
        changed_pixels: Pixels that differ.
        original: uint8 pixels, rows of columns of channels.
        adversarial: The same for the adversarial image.
    """

    attack: str
    epsilon: float
    norm: str = "linf"
    bounded: bool = True
    image: int
    label: int
    before: int
    after: int
    changed_pixels: int
    original: tuple[tuple[tuple[int, ...], ...], ...]
    adversarial: tuple[tuple[tuple[int, ...], ...], ...]


class StepInfo(Record):
    """How a step of the run went.

    Attributes:
        name: The step.
        key: Hash of all that decides its result.
        seconds: Time that it took when it ran [s].
        finished: When it ended, ISO 8601 in UTC.
    """

    name: str
    key: str
    seconds: float
    finished: str


class Report(Record):
    """Everything about a run.

    Attributes:
        schema_version: Version of this form.
        title: Name of the run.
        command: What was typed.
        created: When the report was made, ISO 8601 in UTC.
        dataset: Which images.
        parameters: Weights of the network, each one bit.
        hardware: The compiled network.
        targets: Who took part, in order; the first one is what the others are compared with.
        clean: All targets on the clean images.
        points: All targets on each attack at each epsilon.
        examples: Images for the gallery.
        test_accuracy: On all test images, measured by PyTorch at the end of training.
        steps: How the steps went.
        hashes: SHA-256 of checkpoint, QONNX file and graph.
        versions: Versions of everything that computed.
        seeds: Seeds of training and attacks.
        config: The configuration of the run.
        findings: What was found beside the run.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    title: str
    command: str
    created: str
    dataset: DatasetInfo
    parameters: int
    hardware: Hardware
    targets: tuple[TargetInfo, ...]
    clean: Point
    points: tuple[Point, ...]
    examples: tuple[Example, ...]
    test_accuracy: float
    steps: tuple[StepInfo, ...]
    hashes: dict[str, str]
    versions: dict[str, str]
    seeds: dict[str, int]
    config: dict[str, Any]
    findings: Findings = Findings()

    @property
    def all_points(self) -> tuple[Point, ...]:
        """The clean images, then each attack at each epsilon."""
        return (self.clean, *self.points)

    @property
    def divergences(self) -> int:
        """Images on which a target differs from the first, over everything."""
        return sum(result.divergences for point in self.all_points for result in point.results)

    @property
    def logits_compared(self) -> int:
        """Logits of targets after the first that were compared with the first one's."""
        return sum(result.logits for point in self.all_points for result in point.results[1:])
