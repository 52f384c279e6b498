"""Timing of interleaved tasks, and what the machine can do, for the emulator's benchmark."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw.emulator.library import NativeLibrary

_BURST_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to time: how many units one call handles, and the call.

    Attributes:
        units: Images, multiply-accumulates or cycles of one call.
        run: The call.
        bursts: Calls in one repeat, of which the fastest counts.
        clock: Seconds; the calling thread's own by default, which other programs take nothing from.
    """

    units: float
    run: Callable[[], object]
    bursts: int = 1
    clock: Callable[[], float] = time.thread_time


def measure_interleaved(tasks: dict[str, Task], repeats: int) -> dict[str, list[float]]:
    """Return units/s of each task in each repeat, timed right after a first run that warms the caches."""
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            task.run()
            rates[name].append(max(_rate(task) for _ in range(task.bursts)))
    return rates


def _rate(task: Task) -> float:
    start = task.clock()
    task.run()
    return task.units / (task.clock() - start)


def limit_task(library: NativeLibrary, isa: str) -> Task:
    """Return the task of reaching the machine's popcount limit on one thread."""
    # How the processor spreads a loop over its ports differs from one entry to the next, by up to a third: a
    # limit is what the best of many short bursts reaches.
    return native_task(lambda iterations: library.popcount_macs(isa, iterations), bursts=20)


def native_task(work: Callable[[int], int], *, bursts: int) -> Task:
    """Return a task of about `_BURST_S` a call; ``work`` takes iterations and returns units."""
    trial = 2000
    work(trial)
    start = time.thread_time()
    work(trial)
    iterations = max(trial, int(trial * _BURST_S / (time.thread_time() - start)))
    return Task(units=work(iterations), run=lambda: work(iterations), bursts=bursts)


def describe_machine() -> dict[str, Any]:
    """Return what a number depends on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        model = next((value.strip() for key, _, value in lines if key.strip() == "model name"), model)
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "versions": {name: version(name) for name in ("onnxruntime", "torch", "brevitas", "qonnx", "numpy")},
    }
