"""Worker processes, one pipe each: one that dies is replaced, and its task done again.

`concurrent.futures.ProcessPoolExecutor` may wait for ever where a process dies while another one starts: the
latter is neither ended nor told to end (seen with Python 3.11 and the start method ``spawn``).
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from export.errors import ToolError

_DEATHS = 3
_PATIENCE_S = 5.0
T = TypeVar("T")
R = TypeVar("R")
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(slots=True, kw_only=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    task: tuple[Any, Any] | None = None


class Processes(Generic[T, R]):
    """Processes that call one function, a task at a time.

    Tasks must give the same answer when they are done twice. Function, tasks and answers travel between the
    processes of this machine and are never read from a file.
    """

    def __init__(
        self, jobs: int, function: Callable[[T], R], *, prepare: Callable[[], None] | None = None
    ) -> None:
        """Start the processes; they get ready while the caller goes on.

        Args:
            jobs: How many.
            function: Of a module, so that another process finds it.
            prepare: Called once in each process.
        """
        self._function, self._prepare = function, prepare
        self._waiting: deque[tuple[Any, T]] = deque()
        self._deaths = 0
        self._workers = [self._start() for _ in range(jobs)]

    def submit(self, key: Any, task: T) -> None:
        """Take a task; `key` comes back with its answer."""
        self._waiting.append((key, task))
        self._hand_out()

    def collect(self, timeout_s: float | None = None) -> list[tuple[Any, R]]:
        """Wait until a task is done, or that long, or not at all if there is none; keys and answers.

        Raises:
            Exception: What the function raised.
            ToolError: Processes die again and again.
        """
        found: list[tuple[Any, R]] = []
        while not found and (self._waiting or any(worker.task for worker in self._workers)):
            connections = {worker.connection: worker for worker in self._workers}
            heard = multiprocessing.connection.wait(list(connections), timeout_s)
            if not heard:
                break
            for connection in heard:
                found.extend(self._hear(connections[connection]))  # pyright: ignore[reportArgumentType]
            self._hand_out()
        return found

    def close(self) -> None:
        """End the processes, in the middle of their tasks if need be."""
        for worker in self._workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        self._workers, self._waiting = [], deque()

    def _start(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs, self._function, self._prepare))
        process.start()
        # With this end closed here, its process holds the only one: if it dies, the pipe ends.
        theirs.close()
        return _Worker(process=process, connection=ours)

    def _hear(self, worker: _Worker) -> list[tuple[Any, R]]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return []
        task, worker.task = worker.task, None
        worker.ready = True
        good, answer = message
        if not good:
            raise answer
        return [] if task is None else [(task[0], answer)]

    def _hand_out(self) -> None:
        for worker in list(self._workers):
            if self._waiting and worker.ready and worker.task is None:
                worker.task = self._waiting.popleft()
                try:
                    worker.connection.send(worker.task[1])
                except OSError:
                    self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        self._deaths += 1
        if worker.task is not None:
            self._waiting.appendleft(worker.task)
        worker.connection.close()
        worker.process.join(_PATIENCE_S)
        self._workers.remove(worker)
        if self._deaths > _DEATHS:
            raise ToolError(
                f"worker processes died {self._deaths} times",
                hint="memory may be short: give fewer --jobs; the same command goes on where it stopped",
            )
        self._workers.append(self._start())


def _serve(
    connection: Connection, function: Callable[[Any], Any], prepare: Callable[[], None] | None
) -> None:
    """Do tasks until the other end is gone; an interruption is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    good, error = _answer(lambda _: prepare() if prepare is not None else None, None)
    connection.send((good, error))
    while good:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_answer(function, task))


def _answer(function: Callable[[Any], Any], task: Any) -> tuple[bool, Any]:
    try:
        return True, function(task)
    except Exception as error:  # noqa: BLE001 -- it is raised in the parent
        error.add_note(traceback.format_exc())
        return False, error


def _end_with_parent() -> None:
    """End in the middle of a task too: nobody would take its answer."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
