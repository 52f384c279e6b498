"""One thread that talks to the device, so that a driver which never returns blocks nobody else."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from .deadlines import Deadline
from .errors import DEVICE, HUNG, BoardError, FaultError

T = TypeVar("T")


class DeviceWorker:
    """Runs calls of the device one after the other."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._last: Future[Any] | None = None
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T], deadline: Deadline) -> T:
        """Run a function in the device's thread and return what it returns.

        Raises:
            FaultError: It raised, or did not return before the deadline, or an earlier call still has not.
            RequestError: It raised this.
        """
        with self._lock:
            if self._last is not None and not self._last.done():
                raise FaultError(HUNG, "the driver still has not returned", hint="restart the board")
            future: Future[T] = Future()
            self._last = future
        self._jobs.put((function, future))
        try:
            return future.result(timeout=deadline.remaining_s())
        except FutureTimeoutError as error:
            if not future.done():
                message = "the driver did not return before the deadline"
                raise FaultError(
                    HUNG, message, hint="give the call more time, or restart the board"
                ) from error
            return future.result()

    def close(self) -> None:
        """Let the thread end after what it does now."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future = job
            try:
                future.set_result(function())
            except BoardError as error:
                future.set_exception(error)
            except Exception as error:  # noqa: BLE001 - a driver may raise anything, and each of it is a fault
                future.set_exception(FaultError(DEVICE, f"{type(error).__name__}: {error}"[:500]))
