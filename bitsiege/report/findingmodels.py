"""What findings beside a campaign hold: signs of masked gradients, proofs, and faults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from bitsiege.report.record import Record

Unit = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Finding(Record):
    """One file.

    Attributes:
        file: Its name.
        model: Name of the network.
        graph_hash: SHA-256 of what the network computes.
    """

    file: str
    model: str
    graph_hash: str


class MaskingCheck(Record):
    """One question about a model's gradients; see `attacks.masking.Check`.

    Attributes:
        name: Short name.
        question: What is asked.
        masked: Whether the answer is a sign of masking; None where it could not be asked.
        evidence: The numbers, in words.
        values: The numbers.
    """

    name: str
    question: str
    masked: bool | None
    evidence: str
    values: dict[str, float]


class Masking(Finding):
    """What ``bitsiege masking`` writes; see `attacks.masking.Verdict`.

    Attributes:
        kind: Always ``masking``.
        gradients: What gave the gradients.
        target: Who judged.
        seed: Of everything random.
        draw_seed: Of drawn weights.
        eps: L∞ budget.
        images: Number of images.
        accuracy: That each attack left, by its name.
        curves: Accuracy over a setting, by the setting's name.
        strongest: The attack that left least.
        checks: The questions.
        masked: Whether any gave a sign.
        sentence: The verdict in words.
    """

    kind: Literal["masking"] = "masking"
    gradients: str
    target: str
    seed: Count
    draw_seed: Count
    eps: Unit
    images: Annotated[int, Field(ge=1)]
    accuracy: dict[str, Unit]
    curves: dict[str, tuple[tuple[float, Unit], ...]]
    strongest: str
    checks: tuple[MaskingCheck, ...]
    masked: bool
    sentence: str


class Certification(Finding):
    """What the report shows of a file that ``bitsiege verify`` wrote; see `bitsiege.verifying`.

    Attributes:
        kind: Always ``verify``.
        eps: L∞ radius in [0, 1].
        radius: The same in steps of the 8-bit grid.
        images: Number of images.
        time_limit_s: For each image [s].
        counts: Images certified, attacked, unknown and misclassified.
        verifiable_accuracy: Share certified.
        mean_seconds: For an image that was not misclassified [s].
        median_seconds: The same.
        proofs_checked: Certified images whose proof an independent checker accepted.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    kind: Literal["verify"] = "verify"
    eps: Unit
    radius: Count
    images: Annotated[int, Field(ge=1)]
    time_limit_s: float
    counts: dict[Literal["certified", "attacked", "unknown", "misclassified"], Count]
    verifiable_accuracy: Unit
    mean_seconds: Annotated[float, Field(ge=0)]
    median_seconds: Annotated[float, Field(ge=0)]
    proofs_checked: Count


class _Part(Record):
    """A part of a larger object, of which the report shows these fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class FaultEstimate(_Part):
    """Accuracy over faults: mean with its interval, and the worst."""

    mean: Unit
    low: Unit
    high: Unit
    worst: Unit


class FaultMap(_Part):
    """Accuracies of blocks of faults, as rows of columns."""

    rows: Count
    columns: Count
    mean: tuple[tuple[Unit, ...], ...]
    worst: tuple[tuple[Unit, ...], ...]


class FaultLayer(_Part):
    """One memory or stream.

    Attributes:
        node: Of the network.
        kind: ``weight``, ``threshold`` or ``activation``.
        bits: That can be struck.
        exhaustive: Whether every one was.
        estimate: Accuracy.
        map: Where it falls; None where the bits were sampled.
    """

    node: str
    kind: str
    bits: Count
    exhaustive: bool
    estimate: FaultEstimate
    map: FaultMap | None


class FaultStep(_Part):
    """So many bits struck together, and the accuracy on the search's images and on others."""

    bits: Count
    accuracy_search: Unit
    accuracy_held_out: Unit | None


class FaultMemory(_Part):
    """A memory of the hardware."""

    node: str
    kind: str


class FaultAttack(_Part):
    """A greedy search for the bits that harm most."""

    memories: tuple[FaultMemory, ...]
    clean_held_out: Unit | None
    steps: tuple[FaultStep, ...]


class Faults(Finding):
    """What the report shows of a file that ``bitsiege faults`` wrote; see `attacks.faults.campaign`.

    Attributes:
        kind: Always ``faults``.
        images: Number of images.
        clean_accuracy: Without a fault.
        layers: Memories and streams.
        attacks: The searches.
        replay: One entry a scenario that was replayed on rtl.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    kind: Literal["faults"] = "faults"
    images: Annotated[int, Field(ge=1)]
    clean_accuracy: Unit
    layers: tuple[FaultLayer, ...]
    attacks: tuple[FaultAttack, ...]
    replay: tuple[dict[str, Any], ...]


class Findings(Record):
    """All of them, each kind in the order of the files' names."""

    masking: tuple[Masking, ...] = ()
    verify: tuple[Certification, ...] = ()
    faults: tuple[Faults, ...] = ()
