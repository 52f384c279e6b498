"""What findings beside a campaign hold: signs of masked gradients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bitsiege.report.record import Record

Unit = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Finding(Record):
    """One file.

    Attributes:
        file: Its name.
    """

    file: str


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
        graph_hash: SHA-256 of what the network computes.
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
    graph_hash: str
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


class Findings(Record):
    """All of them, each kind in the order of the files' names."""

    masking: tuple[Masking, ...] = ()
