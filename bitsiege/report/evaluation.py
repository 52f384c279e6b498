"""The data of an evaluation's report, as its ``report.json`` holds it: a campaign, and findings beside it."""

from __future__ import annotations

from typing import Any, Literal

from bitsiege.report.findings import Findings
from bitsiege.report.model import Example
from bitsiege.report.record import Record

EVALUATION_VERSION = 1

Answer = Literal["yes", "no", "not shown", "does not apply"]
Curve = tuple[tuple[float, float], ...]


class Share(Record):
    """A share of images.

    Attributes:
        images: How many were looked at.
        correct: How many of them got the right label.
        accuracy: ``correct / images``.
        low: Lower end of Wilson's 95 % interval.
        high: Upper end.
    """

    images: int
    correct: int
    accuracy: float
    low: float
    high: float


class TargetShare(Share):
    """What one target answered for one set of images.

    Attributes:
        target: Its name.
        kind: Simulation, cycle-accurate, or hardware.
        divergences: Images with a logit that differs from the first target's.
    """

    target: str
    kind: str
    divergences: int


class CellResult(Record):
    """One attack with one epsilon and one seed on one model, as far as it is computed.

    Attributes:
        model: Name of the model.
        attack: Name of the attack.
        title: Its name in the results.
        source: Network that the images were crafted on, if it is another one.
        access: What the attacker sees: gradients, scores, labels, another model, or nothing.
        norm: What its budget measures.
        epsilon: Its budget; None where it looks for the smallest change.
        seed: Of everything random.
        parameters: All parameters.
        images: Images planned.
        images_done: Images crafted by now.
        finished: Whether all targets have computed all of theirs.
        clean: On the originals, one entry a target.
        attacked: On the crafted images, one entry a target.
        success: Share of the images that reach the attack's goal on the first target, as 8-bit images.
        float_success: Share that reached it before rounding; None for an attack on the 8-bit grid.
        median_distance: Distance at which half of the images are lost; None where half are not.
        distances: Without a budget: accuracy as a staircase over distance, by the first target.
        queries: Of a black-box attack: share of the images fooled, of those right at first, over queries.
        queries_mean: Mean of its queries for an image.
    """

    model: str
    attack: str
    title: str
    source: str = ""
    access: str
    norm: str
    epsilon: float | None
    seed: int
    parameters: dict[str, Any]
    images: int
    images_done: int
    finished: bool
    clean: tuple[TargetShare, ...] = ()
    attacked: tuple[TargetShare, ...] = ()
    success: float | None = None
    float_success: float | None = None
    median_distance: float | None = None
    distances: Curve = ()
    queries: Curve = ()
    queries_mean: float | None = None


class Breaker(Record):
    """What one attack contributes to the worst case.

    Attributes:
        title: Name of the attack in the results.
        broken: Images, right at first, that it breaks with some epsilon and seed.
        alone: Those of them that no other attack breaks.
    """

    title: str
    broken: int
    alone: int


class WorstPoint(Share):
    """All attacks together at one epsilon.

    Attributes:
        epsilon: The budget.
        breakers: The attacks that break something within it.
    """

    epsilon: float
    breakers: tuple[Breaker, ...]


class WorstCase(Record):
    """All attacks on one model together: an image is lost if any of them finds one inside the budget.

    Attributes:
        model: Name of the model.
        norm: What is measured.
        points: At each epsilon of the plan.
        distances: Accuracy as a staircase over distance.
        median_distance: Distance at which half of the images are lost; None where half are not.
    """

    model: str
    norm: str
    points: tuple[WorstPoint, ...]
    distances: Curve
    median_distance: float | None


class ModelInfo(Record):
    """One network.

    Attributes:
        name: In the results.
        source: As the configuration names it.
        graph_hash: SHA-256 of what it computes.
        classes: Number of classes.
        macs: Multiply-accumulates of one frame.
        ii_cycles: Initiation interval by the timing formula.
        drawn: Whether it draws weights for each frame.
        clean: The first target on the images that any attack has got by now; None before the first.
    """

    name: str
    source: str
    graph_hash: str
    classes: int
    macs: int
    ii_cycles: int
    drawn: bool
    clean: Share | None


class Forms(Record):
    """One attack as published, rounded to 8 bits, and on the 8-bit grid throughout.

    Attributes:
        model: Name of the model.
        attack: Name of the attack.
        norm: What the budget measures.
        epsilon: Its budget; None where it looks for the smallest change.
        float_success: Share of the images at the goal before rounding.
        rounded_success: The same images, rounded.
        grid_success: The attack on the grid; None where the campaign has no such attack.
    """

    model: str
    attack: str
    norm: str
    epsilon: float | None
    float_success: float
    rounded_success: float
    grid_success: float | None


class TransferRow(Record):
    """The images of one network.

    Attributes:
        source: Name of the network that they were crafted on.
        shares: What each model gets right of them; None where it has not judged them.
        itself: What the network itself gets right of them, if it is none of the models; None otherwise.
    """

    source: str
    shares: tuple[Share | None, ...]
    itself: Share | None = None


class TransferMatrix(Record):
    """One attack at one budget: networks that make images by models that judge them.

    Attributes:
        title: Name of the attack in the results.
        norm: What the budget measures.
        epsilon: Its budget; None where it looks for the smallest change.
        seeds: A share is the mean over these.
        models: The judges, in the order of the shares.
        rows: One for each network that images were crafted on; a model's own are the attack on itself.
    """

    title: str
    norm: str
    epsilon: float | None
    seeds: tuple[int, ...]
    models: tuple[str, ...]
    rows: tuple[TransferRow, ...]


class Picture(Example):
    """One attacked image of the gallery.

    Attributes:
        model: Name of the model.
    """

    model: str


class Campaign(Record):
    """What a campaign's folder holds.

    Attributes:
        dataset: Name of the data set.
        first_image: Index of the first image in its test part.
        images: Images of the plan.
        images_sha256: Of images and labels.
        targets: Names, the one first that the others are compared with.
        finished: Whether everything is computed.
        shards_done: Pieces of work that are there.
        shards_total: All pieces.
        divergences: Images on which a target differs from the first, over everything.
        models: The networks.
        cells: The results, in the order of the plan.
        worst: All attacks together, by model and norm.
        transfers: Images of each network, judged by each model.
        forms: Attacks that have a published form, beside their grid form.
        pictures: Images for the gallery.
        config: The campaign's configuration.
    """

    dataset: str
    first_image: int
    images: int
    images_sha256: str
    targets: tuple[str, ...]
    finished: bool
    shards_done: int
    shards_total: int
    divergences: int
    models: tuple[ModelInfo, ...]
    cells: tuple[CellResult, ...]
    worst: tuple[WorstCase, ...]
    transfers: tuple[TransferMatrix, ...] = ()
    forms: tuple[Forms, ...]
    pictures: tuple[Picture, ...]
    config: dict[str, Any]


class Item(Record):
    """One item of the check-list.

    Attributes:
        name: A few words.
        question: What is asked.
        answer: What the data say.
        evidence: The data.
    """

    name: str
    question: str
    answer: Answer
    evidence: str


class Evaluation(Record):
    """Everything about an evaluation.

    Attributes:
        schema_version: Version of this form.
        kind: Always ``evaluation``.
        title: Its name.
        campaign: What a campaign found; None for findings alone.
        findings: What was found beside it.
        checklist: What an evaluation of robustness must show, and whether this one does.
        version: Of the program that made the report.
    """

    schema_version: Literal[1] = EVALUATION_VERSION
    kind: Literal["evaluation"] = "evaluation"
    title: str
    campaign: Campaign | None
    findings: Findings
    checklist: tuple[Item, ...]
    version: str
