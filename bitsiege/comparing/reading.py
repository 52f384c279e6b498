"""Reading a snapshot of a run: a folder of a campaign or of ``bitsiege run``, or the JSON of either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from bitsiege.campaign.plan import attack_text
from bitsiege.campaign.summary import VERSION
from bitsiege.comparing.snapshot import CLEAN, Hardware, Place, Score, Snapshot, budget_text
from bitsiege.pipeline.store import read_json
from bitsiege.report.model import Point, Report
from export.errors import InputError
from export.graph import IntArray

_CAMPAIGN = "campaign.json"
_REPORT = "report.json"
_HINT = "give a folder of bitsiege campaign or bitsiege run, or its campaign.json or report.json"
_CYCLES = ("ii_cycles", "latency_cycles")


def read_snapshot(path: Path) -> Snapshot:
    """Read what is known of a run; a folder also tells which images were right.

    Raises:
        InputError: It is neither, it is damaged, or the run is not finished.
    """
    if path.is_dir():
        for name in (_CAMPAIGN, _REPORT):
            if (path / name).is_file():
                return _parse(path / name, path)
        raise InputError(f"{path} has neither {_CAMPAIGN} nor {_REPORT}", hint=_HINT)
    return _parse(path, None)


def _parse(path: Path, folder: Path | None) -> Snapshot:
    document = read_json(path)
    try:
        if isinstance(document, dict) and document.get("kind") == "campaign":
            return _campaign(path, document, folder)
        if isinstance(document, dict) and "schema_version" in document:
            return _report(path, Report.model_validate(document), folder)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    raise InputError(f"{path} is no result of a run", hint=_HINT)


def _campaign(path: Path, document: dict[str, Any], folder: Path | None) -> Snapshot:
    if document["version"] != VERSION:
        raise InputError(
            f"{path} has version {document['version']!r}, this program reads {VERSION}",
            hint="compute the campaign again, or compare with the program that made it",
        )
    if document["finished"] is not True:
        shards = document["shards"]
        raise InputError(
            f"{path}: the campaign is not finished, {shards['done']} of {shards['total']} shards are done",
            hint="bitsiege campaign with the same --out goes on",
        )
    scores: dict[Place, Score] = {}
    for result in document["results"]:
        outcomes = _Outcomes(folder, result)
        for entry in result["targets"]:
            name = entry["target"]
            digest = result.get("images_sha256")
            place = Place(
                model=result["model"],
                attack=attack_text(result["title"], result["source"]),
                budget=budget_text(result["epsilon"]),
                seed=result["seed"],
                target=name,
            )
            scores[place] = _score(entry, "adversarial", digest, outcomes)
            clean = Place(model=result["model"], attack=CLEAN, budget="", seed=0, target=name)
            if clean not in scores:
                scores[clean] = _score(entry, "clean", digest, outcomes)
    hardware = {
        model["name"]: Hardware(
            graph_hash=model["graph_hash"],
            cycles={key: float(model[key]) for key in _CYCLES},
            resources={
                key: float(value["estimate"]) for key, value in dict(model["resources"] or {}).items()
            },
        )
        for model in document["models"]
    }
    for place in scores:
        if place.model not in hardware:
            raise ValueError(f"the model {place.model} has results and no description")
    return Snapshot(name=str(path), scores=scores, hardware=hardware)


class _Outcomes:
    """Image by image, what the targets of one cell answered; nothing where the files aren't there."""

    def __init__(self, folder: Path | None, result: Mapping[str, Any]) -> None:
        self._folder, self._result = folder, result
        self._read = False
        self._labels: IntArray | None = None
        self._answers: dict[str, Any] = {}

    def logits(self, target: str, images: str) -> tuple[IntArray, IntArray] | None:
        """Return logits and right labels of the target's images."""
        if not self._read:
            self._read = True
            self._load()
        if self._labels is None or target not in self._answers:
            return None
        found = getattr(self._answers[target], images).logits
        return found, self._labels[: len(found)]

    def _load(self) -> None:
        from attacks.archive import load_attack
        from bitsiege.campaign.answers import ANSWERS, read_answers

        if self._folder is None:
            return
        answers = self._folder / self._result["directory"] / ANSWERS
        if answers.is_file():
            self._labels = load_attack(self._folder / self._result["archive"]).labels
            self._answers = dict(read_answers(answers))


def _score(entry: dict[str, Any], images: str, digest: str | None, outcomes: _Outcomes) -> Score:
    found = outcomes.logits(entry["target"], images)
    part = entry[images]
    count, correct = _whole(part["count"], 1), _whole(part["correct"], 0)
    right = None if found is None else found[0].argmax(axis=1) == found[1]
    if correct > count or (right is not None and (len(right) != count or int(right.sum()) != correct)):
        raise InputError(f"{entry['target']}: {correct} of {count} {images} images are not what is stored")
    cycles = part["steady_latency_cycles"]
    return Score(
        count=count,
        correct=correct,
        divergences=_whole(part["diverging_images"], 0),
        cycles=None if cycles is None else float(cycles),
        images_sha256=digest,
        outcomes=None if right is None else np.asarray(right, np.bool_),
        logits=found[0] if found is not None and images == CLEAN else None,
    )


def _whole(value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{value!r} is no number of images")
    return value


def _report(path: Path, report: Report, folder: Path | None) -> Snapshot:
    scores: dict[Place, Score] = {}
    for point in report.all_points:
        for result in point.results:
            if result.images:
                scores[_place(report, point, result.target)] = Score(
                    count=result.images,
                    correct=result.correct,
                    divergences=result.divergences,
                    cycles=result.cycles_per_image,
                )
    hardware = Hardware(
        graph_hash=report.hardware.graph_hash,
        cycles={key: float(getattr(report.hardware, key)) for key in _CYCLES},
        resources=_resources(folder),
    )
    return Snapshot(name=str(path), scores=scores, hardware={report.title: hardware})


def _place(report: Report, point: Point, target: str) -> Place:
    is_clean = point is report.clean
    return Place(
        model=report.title,
        attack=CLEAN if is_clean else point.attack,
        budget="" if is_clean else budget_text(point.epsilon),
        seed=0 if is_clean else report.seeds.get(point.attack, 0),
        target=target,
    )


def _resources(folder: Path | None) -> dict[str, float]:
    """Estimates for the build of a run's folder; none without one."""
    if folder is None or not (folder / "build").is_dir():
        return {}
    from bitsiege.building import estimate_cost
    from hw.build import load_build

    build = load_build(folder / "build")
    estimate = estimate_cost(build.graph, build.folding)
    return {} if estimate is None else {key: v["estimate"] for key, v in estimate.to_json().items()}
