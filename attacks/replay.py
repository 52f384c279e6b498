"""Replaying an attack on every implementation of the network, comparing all of them bit for bit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attacks.archive import AttackArchive
from attacks.divergence import describe, differing_images, locate
from attacks.replayreport import Perturbation, ReplayReport, SetResult, TargetResult
from export.errors import CheckFailedError, InputError
from hw.target import ImageArray, Inference, Target

_CLEAN, _ADVERSARIAL = "clean", "adversarial"


def replay(
    archive: AttackArchive,
    targets: Sequence[Target],
    *,
    graph_hash: str,
    trace: bool = False,
    transfer: bool = False,
    batch_size: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ReplayReport:
    """Run clean and adversarial images on all targets.

    Image i of either set is frame ``archive.first_index + i`` for the targets, however the images fall into
    batches and shards: weights that are drawn for each frame are the same on all targets and in every replay
    under one seed, and those that the attack's own last look saw.

    A divergence doesn't stop the replay: it is in the report, and `ReplayReport.check` raises it.

    Args:
        archive: The attack.
        targets: The first one is the baseline of the comparison.
        graph_hash: Of the compiled network that the targets compute.
        trace: Look for the first differing layer of each divergence.
        transfer: Whether the archive may have been made for another network; the report has both hashes.
        batch_size: Images in one call of a target; None for all at once, which keeps a pipeline full.
        progress: Called with the target's name, images done and images in all (both sets).

    Raises:
        InputError: The archive was made for another network, and this is no transfer.
        CheckFailedError: A target returned something other than one row of logits an image.
    """
    _check_arguments(archive, targets, batch_size)
    if archive.graph_hash != graph_hash and not transfer:
        raise InputError(
            f"the attack was made for the network {archive.graph_hash}, the build is {graph_hash}",
            hint="craft it again for this build, or say that it is a transfer: bitsiege replay --transfer",
        )
    sets = {_CLEAN: archive.originals, _ADVERSARIAL: archive.adversarial}
    baseline: dict[str, Inference] = {}
    results: list[TargetResult] = []
    for target in targets:
        report = _Progress(target.name, len(sets) * len(archive), progress)
        runs = {name: _run(target, archive, images, batch_size, report) for name, images in sets.items()}
        if not baseline:
            baseline = {name: run.inference for name, run in runs.items()}
        judged = {
            name: _judge(archive, (targets[0], baseline[name]), (target, run), name)
            for name, run in runs.items()
        }
        if trace:
            judged = {name: _traced(part, archive, targets[0], target) for name, part in judged.items()}
        results.append(
            TargetResult(
                target=target.name,
                kind=str(target.kind),
                clean=judged[_CLEAN],
                adversarial=judged[_ADVERSARIAL],
            )
        )
    return ReplayReport(
        attack=archive.attack,
        parameters=dict(archive.parameters),
        eps=archive.eps,
        norm=str(archive.norm),
        seed=archive.seed,
        graph_hash=graph_hash,
        source_hash=archive.graph_hash,
        images=len(archive),
        first_image=archive.first_index,
        baseline=targets[0].name,
        perturbation=measure(archive),
        targets=tuple(results),
    )


def measure(archive: AttackArchive) -> Perturbation:
    """Measure the distances between originals and adversarial images."""
    difference = archive.adversarial.astype(np.int64) - archive.originals
    flat = np.abs(difference).reshape(len(archive), -1)
    return Perturbation(
        radius=archive.budget.limit(archive.originals.shape[1:]),
        linf_mean=float(flat.max(axis=1).mean() / 255),
        linf_max=float(flat.max() / 255),
        l2_mean=float(np.sqrt((flat**2).sum(axis=1)).mean() / 255),
        changed_mean=float((flat > 0).mean()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    inference: Inference
    seconds: float


class _Progress:
    """Adds up the images of one target."""

    def __init__(self, name: str, total: int, report: Callable[[str, int, int], None] | None) -> None:
        self._name, self._total, self._report = name, total, report
        self._done = 0

    def add(self, images: int) -> None:
        self._done += images
        if self._report is not None:
            self._report(self._name, self._done, self._total)


def _check_arguments(archive: AttackArchive, targets: Sequence[Target], batch_size: int | None) -> None:
    names = [target.name for target in targets]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"replay needs targets of different names, not {names}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")


def _run(
    target: Target,
    archive: AttackArchive,
    images: ImageArray,
    batch_size: int | None,
    progress: _Progress,
) -> _Run:
    size = len(images) if batch_size is None else batch_size
    parts: list[Inference] = []
    seconds = 0.0
    for begin in range(0, len(images), size):
        batch = images[begin : begin + size]
        start = time.perf_counter()
        part = target.infer(batch, archive.first_index + begin)
        seconds += time.perf_counter() - start
        logits = part.logits
        if logits.dtype != np.int64 or logits.shape != (len(batch), archive.classes):
            raise CheckFailedError(
                f"{target.name} returned {logits.dtype} {logits.shape} for {len(batch)} images, "
                f"not int64 ({len(batch)}, {archive.classes})",
                target=target.name,
            )
        parts.append(part)
        progress.add(len(batch))
    cycles = [part.cycles for part in parts if part.cycles is not None]
    inference = Inference(
        logits=np.concatenate([part.logits for part in parts]),
        cycles=np.concatenate(cycles) if len(cycles) == len(parts) else None,
    )
    return _Run(inference=inference, seconds=seconds)


def _judge(
    archive: AttackArchive, baseline: tuple[Target, Inference], judged: tuple[Target, _Run], images: str
) -> SetResult:
    run = judged[1]
    labels, cycles = run.inference.labels, run.inference.cycles
    correct = int((labels == archive.labels).sum())
    differing = differing_images(baseline[1], run.inference)
    first = None
    if len(differing) > 0:
        image = int(differing[0])
        expected, found = baseline[1].logits[image], run.inference.logits[image]
        first = describe(baseline[0], judged[0], expected, found, images=images, image=image)
    return SetResult(
        images=images,
        count=len(archive),
        correct=correct,
        accuracy=correct / len(archive),
        on_target=None if archive.targets is None else float((labels == archive.targets).mean()),
        diverging_images=len(differing),
        diverging_logits=int((baseline[1].logits != run.inference.logits).sum()),
        first=first,
        first_latency_cycles=None if cycles is None else int(cycles[0]),
        steady_latency_cycles=None if cycles is None else int(cycles[-1]),
        seconds=run.seconds,
        images_per_second=len(archive) / run.seconds if run.seconds > 0 else 0.0,
    )


def _traced(result: SetResult, archive: AttackArchive, baseline: Target, target: Target) -> SetResult:
    """Add the first differing layer to the first divergence, if there is one."""
    first = result.first
    if first is None:
        return result
    pixels = archive.originals if result.images == _CLEAN else archive.adversarial
    layer, note = locate(
        baseline, target, pixels[first.image : first.image + 1], frame=archive.first_index + first.image
    )
    return dataclasses.replace(result, first=dataclasses.replace(first, layer=layer, note=note))
