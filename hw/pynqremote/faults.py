"""Faults that an emulated overlay can have, to see what the software above it makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong with an emulated overlay.

    Attributes:
        stuck: Channels that never finish.
        errors: Bits that a channel's STATUS shows when it should be done, by its name.
        short: Frames after which the result stream ends too early, or None.
        garbled: Whether the lowest bit of each first logit is wrong.
        deaf: Whether a soft reset does nothing.
        clock_factor: What the logic's clock is of the one that it is set to.
        starts: Starts after which all of it is over; None for never.
    """

    stuck: frozenset[str] = frozenset()
    errors: dict[str, int] = field(default_factory=dict[str, int])
    short: int | None = None
    garbled: bool = False
    deaf: bool = False
    clock_factor: float = 1.0
    starts: int | None = None
