"""How long work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work that is under way."""

    def update(self, done: float, *, total: float | None = None, note: str = "") -> None:
        """Say how far it is.

        Args:
            done: Units done so far, not the increment.
            total: Units in all, where it becomes known late.
            note: A few words that stand beside the bar, such as ``loss 0.31``.
        """
        ...


class Progress(Protocol):
    """A listener: a terminal with bars, plain lines, or nobody."""

    def task(self, label: str, *, total: float | None = None) -> AbstractContextManager[Task]:
        """Announce a piece of work; it ends with the context."""
        ...

    def note(self, text: str) -> None:
        """Say one line."""
        ...


class _SilentTask:
    def update(self, done: float, *, total: float | None = None, note: str = "") -> None:
        """Ignore it."""


class SilentProgress:
    """Nobody listens."""

    @contextmanager
    def task(self, label: str, *, total: float | None = None) -> Generator[Task]:
        """Yield a task that ignores its updates."""
        del label, total
        yield _SilentTask()

    def note(self, text: str) -> None:
        """Ignore it."""
