"""The function that does a piece of work: bytes in, bytes out, anywhere."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from attacks.archive import AttackArchive, load_attack
from attacks.catalog import make_attack
from attacks.substitute import SubstituteAttack
from attacks.substitutefile import read_trained, trained_bytes
from bitsiege.campaign.answers import (
    ANSWERS,
    Known,
    Playback,
    Recorder,
    answers_bytes,
    read_answers,
    recorder,
)
from bitsiege.campaign.bench import Bench, bench_for
from bitsiege.campaign.digests import bytes_digest, code_digests
from bitsiege.campaign.known import CLEAN, clean_bytes, read_clean
from bitsiege.campaign.work import (
    ARCHIVE,
    FORMAT_VERSION,
    RECORD,
    SUBSTITUTE,
    TIMING,
    Files,
    Role,
    Work,
    timeless,
)
from bitsiege.crafting import DEFAULT_ORACLE, Gradient, craft, craft_on
from bitsiege.progress import SilentProgress
from bitsiege.replaying import replay_limited
from bitsiege.targets import draws_weights
from export.errors import InputError
from export.graph import IntArray
from hw.target import Target

# One shard at a time in a process: modules and native targets are not shared between threads.
_one_at_a_time = threading.Lock()


def compute(work: Work, build: Path | bytes, cache_dir: Path | None = None) -> Files:
    """Craft the images, or take those that are crafted, and let every target compute them.

    Args:
        work: What to do.
        build: The folder of the build or source, or its files as `bench.pack_build` makes them.
        cache_dir: Where native code is kept.

    Returns:
        The shard's files by name. All but ``timing.json`` follow from ``work`` alone.

    Raises:
        InputError: This process runs other code than the one that made the key, or the attack doesn't fit.
        BitsiegeError: Whatever crafting or a target raises.
    """
    if code_digests() != work.code:
        raise InputError(
            f"the worker on {platform.node()} runs another version of bitsiege or of a library",
            hint="install the same versions on all workers and start them again",
        )
    with _one_at_a_time, _one_torch_thread(), tempfile.TemporaryDirectory(prefix="bitsiege-shard-") as name:
        start_s = time.monotonic()
        bench = bench_for(work.build, build, cache_dir)
        files, target_seconds = _compute(work, bench, Path(name))
        timing = {
            "seconds": time.monotonic() - start_s,
            "targets": target_seconds,
            "worker": f"{platform.node()}:{os.getpid()}",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    return {**files, TIMING: _json(timing)}


def _compute(work: Work, bench: Bench, folder: Path) -> tuple[Files, dict[str, float]]:
    record: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    if work.role == Role.CLEAN:
        files = _ask_for_originals(work, bench)
    elif work.role == Role.SUBSTITUTE:
        files = _train(work, bench)
    else:
        files, record, seconds = _attack(work, bench, folder)
    about = {
        "version": FORMAT_VERSION,
        "key": work.key,
        "role": work.role,
        "first": work.first,
        "count": len(work.images),
        "files": {name: bytes_digest(data) for name, data in files.items()},
    }
    return {**files, RECORD: _json({**about, **record})}, seconds


def _ask_for_originals(work: Work, bench: Bench) -> Files:
    answers = {
        name: bench.target(name, work.draw_seed).infer(work.images[:count], work.first)
        for name, count in work.targets
    }
    return {CLEAN: clean_bytes(answers)}


def _train(work: Work, bench: Bench) -> Files:
    attack = make_attack(work.attack, **work.parameters)
    if not isinstance(attack, SubstituteAttack):
        raise TypeError(f"{work.attack} trains no substitute")
    trained = attack.train(bench.target(work.oracle, work.draw_seed), work.images)
    return {SUBSTITUTE: trained_bytes(trained)}


def _attack(work: Work, bench: Bench, folder: Path) -> tuple[Files, dict[str, Any], dict[str, float]]:
    """Return a shard's files, its part of the record, and the seconds that each target took."""
    path = folder / ARCHIVE
    made: dict[str, Any] = {}
    files: Files = {}
    if work.crafted is None:
        made = _craft(work, bench, path)
        files[ARCHIVE] = path.read_bytes()
    else:
        path.write_bytes(work.crafted)
    if not work.targets:
        return files, {"crafted": made, "replay": {"targets": []}}, {}
    archive = load_attack(path)
    known = {} if work.clean is None else read_clean(work.clean)
    recorders = [
        recorder(
            bench.target(name, work.draw_seed),
            known=Known(images=work.images[:count], first_frame=work.first, answer=known[name])
            if name in known
            else None,
        )
        for name, count in work.targets
    ]
    replay, seconds = _replay(work, bench, archive, recorders, folder)
    answers = {part.name: part.answers() for part in recorders}
    files[ANSWERS] = answers_bytes(answers)
    if work.crafted is not None and work.baseline is None:
        first = next(iter(answers.values()))
        made = _judged(archive, first.adversarial.labels)
    return files, {"crafted": made, "replay": replay}, seconds


def _craft(work: Work, bench: Bench, path: Path) -> dict[str, Any]:
    shared: dict[str, Any] = {"progress": SilentProgress(), "first_index": work.first}
    if not work.targets:
        module, origin, digest = bench.source
        return craft_on(
            Gradient(module=module, origin=origin, source_hash=digest),
            work.attack,
            work.parameters,
            work.images,
            work.labels,
            path,
            **shared,
        )
    return craft(
        bench.build,
        work.attack,
        work.parameters,
        work.images,
        work.labels,
        path,
        oracle=work.oracle or DEFAULT_ORACLE,
        cache_dir=bench.cache_dir,
        draw_seed=work.draw_seed,
        trained=None if work.substitute is None else read_trained(work.substitute),
        **shared,
    )


def _replay(
    work: Work, bench: Bench, archive: AttackArchive, recorders: Sequence[Recorder], folder: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Let the targets judge, beside the baseline of another shard where there is one."""
    asked: list[Target] = [*recorders]
    if work.baseline is not None:
        (folder / ANSWERS).write_bytes(work.baseline)
        name, answers = next(iter(read_answers(folder / ANSWERS).items()))
        asked.insert(0, Playback(name, answers, archive))
    report = replay_limited(
        archive,
        asked,
        graph_hash=bench.build.graph_hash,
        limits={name: count for name, count in work.targets if count < len(archive)},
        trace=True,
        transfer=work.crafted is not None,
        progress=SilentProgress(),
        label=work.key,
        draw_seed=work.draw_seed if draws_weights(bench.build.graph) else None,
    )
    replay, seconds = timeless(report.to_json())
    replay["targets"] = [entry for entry in replay["targets"] if entry["target"] in dict(work.targets)]
    return replay, seconds


def _judged(archive: AttackArchive, labels: IntArray) -> dict[str, Any]:
    """What `bitsiege.crafting.craft` says of images, for images that were crafted elsewhere."""
    reached = labels != archive.labels if archive.targets is None else labels == archive.targets
    return {
        "attack": archive.attack,
        "images": len(archive),
        "succeeded": int(reached.sum()),
        "origin": archive.origin,
        "source_hash": archive.graph_hash,
        "queries": None if archive.queries is None else float(archive.queries.mean()),
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


@contextmanager
def _one_torch_thread() -> Generator[None]:
    """Another number of threads rounds otherwise, so another image could come out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
