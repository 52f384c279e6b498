"""When the shards will be done."""

from __future__ import annotations

import time

from bitsiege.progress import Task


class Eta:
    """Says how far the shards are, and when they will be done at the rate since the first one."""

    def __init__(self, task: Task, done: int, total: int) -> None:
        self._task, self._total = task, total
        self._first: tuple[int, float] | None = None
        task.update(done)

    def update(self, done: int) -> None:
        """Count. The first shard also starts processes and compiles targets: it tells no rate."""
        now_s = time.monotonic()
        if self._first is None:
            self._first = done, now_s
        begun, start_s = self._first
        left = ""
        if done > begun:
            left = f"{duration((self._total - done) * (now_s - start_s) / (done - begun))} left"
        self._task.update(done, note=left)


def duration(seconds: float) -> str:
    """Return a time in words of one unit or two."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
