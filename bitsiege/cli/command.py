"""What was typed, for provenance."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(slots=True)
class Invocation:
    """The command that this process runs now.

    Attributes:
        words: What followed ``bitsiege``.
        debug: Whether a traceback is wanted.
    """

    words: tuple[str, ...] = ()
    debug: bool = False

    @property
    def text(self) -> str:
        """The command as one would type it."""
        return shlex.join(("bitsiege", *self.words))


invocation = Invocation()
