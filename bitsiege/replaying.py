"""Replay where slow targets take fewer images than the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from attacks.archive import AttackArchive
from attacks.replay import ReplayReport, TargetResult, replay
from bitsiege.progress import Progress, Task
from export.errors import InputError
from export.graph import DataflowGraph
from hw.target import Target


def replay_limited(
    archive: AttackArchive,
    targets: Sequence[Target],
    *,
    graph_hash: str,
    limits: Mapping[str, int],
    trace: bool,
    progress: Progress,
    label: str,
    draw_seed: int | None = None,
    transfer: bool = False,
) -> ReplayReport:
    """Replay an attack on all targets; those with a limit see the first images only.

    Args:
        archive: The attack.
        targets: The first one is the baseline and has no limit.
        graph_hash: Of the network that they compute.
        limits: Number of images by name of the target.
        trace: Look for the first differing layer.
        progress: Who listens.
        label: How the work is announced.
        draw_seed: The targets' seed of drawn weights, for the report; None where there are none.
        transfer: Whether the attack may have been made for another network; the report has both hashes.

    Returns:
        One report; the ``count`` of a limited target's results says how many images it saw.

    Raises:
        InputError: The attack was made for another network, and this is no transfer; or the baseline is
            limited.
    """
    if targets[0].name in limits:
        raise InputError(f"{targets[0].name} comes first, so the others need all of its images")
    counts = {target.name: min(limits.get(target.name, len(archive)), len(archive)) for target in targets}
    results: dict[str, TargetResult] = {}
    report: ReplayReport | None = None
    with ExitStack() as stack:
        watch = _Watch(stack, progress, label, 2 * sum(counts.values()))
        for count in sorted(set(counts.values()), reverse=True):
            group = [target for target in targets if counts[target.name] == count]
            together = group if targets[0] in group else [targets[0], *group]
            part = replay(
                archive[:count],
                together,
                graph_hash=graph_hash,
                trace=trace,
                transfer=transfer,
                progress=watch.report,
            )
            report = report or part
            for result in part.targets:
                results.setdefault(result.target, result)
    if report is None:
        raise ValueError("replay needs a target")
    return dataclasses.replace(
        report, targets=tuple(results[target.name] for target in targets), draw_seed=draw_seed
    )


def check_judge(archive: AttackArchive, graph: DataflowGraph) -> None:
    """Raise `InputError` unless a network takes the images of an attack and has its classes."""
    shape = archive.originals.shape[1:]
    if graph.input_shape != shape or graph.classes != archive.classes:
        raise InputError(
            f"the attack has images of shape {shape} and {archive.classes} classes, the network takes "
            f"{graph.input_shape} and has {graph.classes} classes"
        )


class _Watch:
    """Adds up the images of all targets for one bar."""

    def __init__(self, stack: ExitStack, progress: Progress, label: str, total: int) -> None:
        self._task: Task = stack.enter_context(progress.task(label, total=total))
        self._done: dict[str, int] = {}
        self._total = total

    def report(self, target: str, done: int, total: int) -> None:
        del total
        self._done[target] = max(done, self._done.get(target, 0))
        self._task.update(min(sum(self._done.values()), self._total), note=target)
