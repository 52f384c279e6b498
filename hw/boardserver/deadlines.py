"""Points in time after which nobody waits any more."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .errors import DEADLINE, RequestError


@dataclass(frozen=True)
class Deadline:
    """A point in time.

    Attributes:
        at_s: In seconds of `time.monotonic`.
    """

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the point in time that is so far from now."""
        return cls(time.monotonic() + seconds)

    def remaining_s(self) -> float:
        """Return the seconds that are left, 0 if none."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.remaining_s() <= 0.0

    def earlier(self, seconds: float) -> Deadline:
        """Return a point in time that is so much before this one."""
        return Deadline(self.at_s - seconds)

    def check(self, what: str) -> None:
        """Raise if it is over.

        Raises:
            RequestError: With the code ``deadline``.
        """
        if self.passed:
            raise RequestError(DEADLINE, f"{what} did not end before its deadline", hint="give it more time")
