"""Who computes the shards of a campaign: this process, or one process a core."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from attacks.processes import Processes
from bitsiege.campaign.bench import close_benches
from bitsiege.campaign.compute import compute
from bitsiege.campaign.work import Files, Work


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """Work, the folder of the build or source that it is for, and what it needs of a worker."""

    work: Work
    path: Path
    resource: str | None = None


class Executor(Protocol):
    """Takes orders and hands back what came of them, in any order."""

    def accepts(self, resource: str | None) -> bool:
        """Whether it has room for work that needs this."""
        ...

    def submit(self, order: Order) -> None:
        """Take an order."""
        ...

    def collect(self, timeout_s: float) -> list[tuple[str, Files]]:
        """Wait for finished work, not longer than that; keys and files.

        Raises:
            BitsiegeError: The work failed, or those who do it are gone.
        """
        ...

    def close(self) -> None:
        """Stop, dropping what isn't done."""
        ...


class InProcess:
    """Computes one shard after the other, here."""

    def __init__(self, *, cache_dir: Path | None) -> None:
        self._cache_dir = cache_dir
        self._waiting: deque[Order] = deque()

    def accepts(self, resource: str | None) -> bool:
        """Whether nothing waits."""
        del resource
        return not self._waiting

    def submit(self, order: Order) -> None:
        """Take an order; it is computed by the next `collect`."""
        self._waiting.append(order)

    def collect(self, timeout_s: float) -> list[tuple[str, Files]]:
        """Compute the order that waits."""
        del timeout_s
        if not self._waiting:
            return []
        order = self._waiting.popleft()
        return [(order.work.key, compute(order.work, order.path, self._cache_dir))]

    def close(self) -> None:
        """Close what was opened."""
        self._waiting.clear()
        close_benches()


class LocalPool:
    """Processes of this machine, with one thread each; one that dies is replaced."""

    def __init__(self, jobs: int, *, cache_dir: Path | None) -> None:
        self._jobs = jobs
        self._flying: dict[str, Order] = {}
        self._processes = Processes[tuple[Work, Path], Files](jobs, partial(_compute, cache_dir))

    def accepts(self, resource: str | None) -> bool:
        """Whether a process is about to be free; a resource of this machine is there once."""
        if resource is not None and any(order.resource == resource for order in self._flying.values()):
            return False
        return len(self._flying) < 2 * self._jobs

    def submit(self, order: Order) -> None:
        """Give an order to the processes."""
        self._flying[order.work.key] = order
        self._processes.submit(order.work.key, (order.work, order.path))

    def collect(self, timeout_s: float) -> list[tuple[str, Files]]:
        """Wait for finished work."""
        found = self._processes.collect(timeout_s)
        for key, _ in found:
            del self._flying[key]
        return found

    def close(self) -> None:
        """End the processes, in the middle of their work if need be."""
        self._processes.close()


def _compute(cache_dir: Path | None, task: tuple[Work, Path]) -> Files:
    work, build = task
    return compute(work, build, cache_dir)
