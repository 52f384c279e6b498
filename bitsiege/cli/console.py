"""What the user sees: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from bitsiege.progress import Progress, Task

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

_LINE_INTERVAL_S = 10.0
# Wide enough that a table that goes to a file or a pipe is never cropped.
_FILE_WIDTH = 160


def show(renderable: RenderableType) -> None:
    """Print a rich table or text on standard output."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else _FILE_WIDTH, highlight=False)
    console.print(renderable)
    sys.stdout.flush()


def show_json(result: Mapping[str, Any]) -> None:
    """Print a machine-readable result on standard output."""
    sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Print one plain line on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def progress() -> Generator[Progress]:
    """Yield bars where standard error is a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield LineProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichBars

    bars = RichBars(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=Console(file=sys.stderr),
    )
    with bars:
        yield BarProgress(bars)


class _Bar:
    def __init__(self, bars: RichBars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def update(self, done: float, *, total: float | None = None, note: str = "") -> None:
        """Move the bar."""
        fields: dict[str, Any] = {"completed": done}
        if total is not None:
            fields["total"] = total
        if note:
            fields["note"] = note
        self._bars.update(self._task, **fields)


class BarProgress:
    """Bars on a terminal."""

    def __init__(self, bars: RichBars) -> None:
        self._bars = bars

    @contextmanager
    def task(self, label: str, *, total: float | None = None) -> Generator[Task]:
        """Show a bar; it is full when the context ends without an exception."""
        task = self._bars.add_task(label, total=total, note="")
        yield _Bar(self._bars, task)
        whole = self._bars.tasks[self._bars.task_ids.index(task)].total or 1
        self._bars.update(task, total=whole, completed=whole)

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)


class _Lines:
    def __init__(self, label: str, total: float | None) -> None:
        self._label = label
        self._total = total
        self._last_s = time.monotonic()

    def update(self, done: float, *, total: float | None = None, note: str = "") -> None:
        """Print a line when the last one is some seconds old."""
        self._total = total if total is not None else self._total
        if time.monotonic() - self._last_s < _LINE_INTERVAL_S or done == self._total:
            return
        self._last_s = time.monotonic()
        of = f"/{self._total:g}" if self._total is not None else ""
        say(f"{self._label}: {done:g}{of}{' ' + note if note else ''}")


class LineProgress:
    """Plain lines: one when work starts, one when it ends, and one every few seconds between."""

    def task(self, label: str, *, total: float | None = None) -> AbstractContextManager[Task]:
        """Print when the work starts and ends."""
        return self._task(label, total)

    @contextmanager
    def _task(self, label: str, total: float | None) -> Generator[Task]:
        say(f"{label} ...")
        start_s = time.monotonic()
        yield _Lines(label, total)
        say(f"{label}: done in {time.monotonic() - start_s:.1f} s")

    def note(self, text: str) -> None:
        """Print one line."""
        say(text)
