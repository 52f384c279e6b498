"""The error tree: every failure that a user can cause or meet derives from `BitsiegeError`."""

from __future__ import annotations

from typing import ClassVar


class BitsiegeError(Exception):
    """What went wrong, where, and the way out.

    Misuse of the Python API raises `ValueError` or `TypeError` instead; this tree is for bad input, missing
    tools and failed checks, and the command line turns it into one or two lines and an exit status.

    Args:
        message: What is wrong, in one sentence; it names the file, node, layer or channel.
        hint: What the user can do about it.
        context: Where it happened, machine-readable, such as ``node="Conv_3"`` or ``channel=7``.
    """

    exit_status: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str = "", **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class InputError(BitsiegeError):
    """A file, array, option or configuration that can't be used."""


class LoweringError(InputError):
    """A network that can't be mapped to integer hardware; `context` names node and operator."""


class GraphFileError(InputError):
    """A dataflow graph file that is truncated, of another version, or inconsistent."""


class CheckFailedError(BitsiegeError):
    """A check that ran and failed: a divergence, or a regression."""

    exit_status: ClassVar[int] = 1


class DivergenceError(CheckFailedError):
    """Two targets of one network disagree; `context` has target, image, layer and channel where known."""


class ToolError(BitsiegeError):
    """An external tool is missing, or it failed on input that it should accept."""

    exit_status: ClassVar[int] = 3
