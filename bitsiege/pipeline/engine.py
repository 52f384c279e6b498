"""Runs steps in order and skips what is there already.

A step's key is the hash of its settings, of the files that the steps before it made, and of the source code
that computes it. Files, not keys, join the steps: training that ends in the same weights keeps everything
after it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitsiege.pipeline.digests import code_digest, distribution_version, json_digest, tree_digests
from bitsiege.pipeline.store import FORMAT_VERSION, Manifest, RunDirectory
from bitsiege.progress import Progress
from export.files import atomic_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step gets.

    Attributes:
        folder: Empty folder to fill; it takes the step's place when the step returns.
        inputs: Folders of the steps named in `Step.after`.
        scratch: Folder that an interrupted step finds again, if nothing that decides its result changed.
        label: The step's name as the user reads it.
        progress: Who listens.
    """

    folder: Path
    inputs: Mapping[str, Path]
    scratch: Path
    label: str
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of the job.

    Attributes:
        name: Name, and the folder in the run directory: ``train`` or ``attacks/fgsm-0.1``.
        settings: JSON object: all settings that decide the result.
        after: Steps whose files it reads.
        packages: Our packages whose source decides the result.
        distributions: Other distributions whose version does.
        action: Does the work.
    """

    name: str
    settings: Mapping[str, Any]
    action: Callable[[StepContext], None]
    after: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How a step went.

    Attributes:
        name: The step.
        key: Its key.
        seconds: Time that it took when it ran [s], in this run or an earlier one.
        reused: Whether its files were there already.
    """

    name: str
    key: str
    seconds: float
    reused: bool


def run_steps(
    steps: Sequence[Step],
    directory: RunDirectory,
    *,
    progress: Progress,
    force: bool = False,
) -> list[StepResult]:
    """Run the steps in order; the caller holds the directory's lock.

    Args:
        steps: Each step comes after those that it names.
        directory: Where files and manifests are.
        progress: Who listens.
        force: Redo everything.

    Returns:
        One result a step.
    """
    directory.sweep(step.name for step in steps)
    outputs: dict[str, dict[str, str]] = {}
    results: list[StepResult] = []
    for number, step in enumerate(steps, start=1):
        key = _key(step, outputs)
        label = f"[{number}/{len(steps)}] {step.name}"
        manifest = directory.read_manifest(step.name)
        if force:
            shutil.rmtree(directory.scratch(key), ignore_errors=True)
        reused = not force and manifest is not None and manifest.key == key and directory.is_intact(manifest)
        if manifest is None or not reused:
            manifest = _run(step, key, label, directory, progress)
        else:
            progress.note(f"{label}: reused")
        outputs[step.name] = manifest.outputs
        results.append(StepResult(name=step.name, key=key, seconds=manifest.seconds, reused=reused))
    directory.drop_scratch()
    return results


def _key(step: Step, outputs: Mapping[str, Mapping[str, str]]) -> str:
    return json_digest(
        {
            "format": FORMAT_VERSION,
            "step": step.name,
            "settings": dict(step.settings),
            "inputs": {name: dict(outputs[name]) for name in step.after},
            "code": {package: code_digest(package) for package in step.packages},
            "versions": {name: distribution_version(name) for name in step.distributions},
        }
    )


def _run(step: Step, key: str, label: str, directory: RunDirectory, progress: Progress) -> Manifest:
    start_s = time.monotonic()
    inputs = {name: directory.folder(name) for name in step.after}
    scratch = directory.scratch(key)
    with atomic_directory(directory.folder(step.name)) as folder:
        step.action(
            StepContext(folder=folder, inputs=inputs, scratch=scratch, label=label, progress=progress)
        )
        outputs = tree_digests(folder)
    shutil.rmtree(scratch, ignore_errors=True)
    manifest = Manifest(
        step=step.name,
        key=key,
        outputs=outputs,
        seconds=round(time.monotonic() - start_s, 3),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    directory.write_manifest(manifest)
    return manifest
