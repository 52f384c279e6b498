"""Who computes the shards of a campaign: this process, or one process a core."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from bitsiege.campaign.bench import close_benches
from bitsiege.campaign.models import Model
from bitsiege.campaign.work import Files, Work, compute
from export.errors import ToolError

_RESTARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """Work, the model that it is for, and what it needs of a worker."""

    work: Work
    model: Model
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
        return [(order.work.key, compute(order.work, order.model.build.path, self._cache_dir))]

    def close(self) -> None:
        """Close what was opened."""
        self._waiting.clear()
        close_benches()


class LocalPool:
    """Processes of this machine, with one thread each; one that dies is replaced."""

    def __init__(self, jobs: int, *, cache_dir: Path | None) -> None:
        self._jobs = jobs
        self._cache_dir = cache_dir
        self._restarts = 0
        self._flying: dict[Future[Files], Order] = {}
        self._pool = self._start()

    def accepts(self, resource: str | None) -> bool:
        """Whether a process is about to be free; a resource of this machine is there once."""
        if resource is not None and any(order.resource == resource for order in self._flying.values()):
            return False
        return len(self._flying) < 2 * self._jobs

    def submit(self, order: Order) -> None:
        """Give an order to the processes."""
        try:
            future = self._pool.submit(compute, order.work, order.model.build.path, self._cache_dir)
        except BrokenProcessPool:
            future = self._restart().submit(compute, order.work, order.model.build.path, self._cache_dir)
        self._flying[future] = order

    def collect(self, timeout_s: float) -> list[tuple[str, Files]]:
        """Wait for finished work."""
        done, _ = wait(self._flying, timeout=timeout_s, return_when=FIRST_COMPLETED)
        found: list[tuple[str, Files]] = []
        lost: list[Order] = []
        for future in done:
            order = self._flying.pop(future)
            try:
                found.append((order.work.key, future.result()))
            except BrokenProcessPool:
                lost.append(order)
        if lost:
            lost.extend(self._flying.values())
            self._flying.clear()
            self._restart()
            for order in lost:
                self.submit(order)
        return found

    def close(self) -> None:
        """End the processes, in the middle of their work if need be."""
        # Until Python 3.14 the pool has no public way to its processes.
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                process.terminate()
        for process in processes:
            process.join()

    def _restart(self) -> ProcessPoolExecutor:
        """Replace processes of which one died: it was killed, or memory ran out."""
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise ToolError(
                f"worker processes died {self._restarts} times",
                hint="memory may be short: give fewer --jobs; the same command goes on where it stopped",
            )
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._start()
        return self._pool

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin
        )


def _begin() -> None:
    """Prepare a worker process: an interruption is its parent's affair, and it ends when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
