"""Whether the second run is worse than the first, by how much, and whether that can be chance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from bitsiege.comparing.difference import Comparison, Difference, Tolerances, Verdict
from bitsiege.comparing.snapshot import CLEAN, Place, Score, Snapshot
from bitsiege.statistics import fisher, holm, mcnemar, newcombe
from export.errors import InputError


def compare(before: Snapshot, after: Snapshot, tolerances: Tolerances) -> Comparison:
    """Compare two runs; models of one name, or the only model of each, belong together.

    Raises:
        InputError: They have no model, attack and target in common.
    """
    after = _renamed(before, after)
    places = sorted(before.scores.keys() | after.scores.keys())
    if not before.scores.keys() & after.scores.keys():
        raise InputError(
            f"{before.name} and {after.name} have nothing in common",
            hint="they need a model, an attack with its epsilon and a target of the same name",
        )
    accuracies: list[Difference] = []
    others: list[Difference] = []
    for place in places:
        first, second = before.scores.get(place), after.scores.get(place)
        if first is None or second is None:
            accuracies.append(_one_sided(place, first, second))
            continue
        accuracies.append(_accuracy(place, first, second))
        others.extend(_exactness(place, first, second, tolerances))
        same = before.hardware[place.model].graph_hash == after.hardware[place.model].graph_hash
        others.extend(_logits(place, first, second, same_network=same))
    judged = [_judge(difference, tolerances) for difference in _adjusted(accuracies)]
    hardware = list(_hardware(before, after, tolerances))
    return Comparison(
        before=before.name,
        after=after.name,
        tolerances=tolerances,
        differences=(*judged, *others, *hardware),
    )


def _renamed(before: Snapshot, after: Snapshot) -> Snapshot:
    """Give the second run's only model the name of the first one's."""
    if len(before.hardware) != 1 or len(after.hardware) != 1:
        return after
    (name,), (other,) = before.hardware, after.hardware
    return replace(
        after,
        scores={replace(place, model=name): score for place, score in after.scores.items()},
        hardware={name: after.hardware[other]},
    )


def _one_sided(place: Place, first: Score | None, second: Score | None) -> Difference:
    return Difference(
        what=_name(place),
        where=place.text(),
        target=place.target,
        before=None if first is None else first.accuracy,
        after=None if second is None else second.accuracy,
        verdict=Verdict.NEW if first is None else Verdict.MISSING,
    )


def _name(place: Place) -> str:
    return "accuracy" if place.attack == CLEAN else "robustness"


def _accuracy(place: Place, first: Score, second: Score) -> Difference:
    facts: dict[str, Any]
    paired = (
        first.outcomes is not None
        and second.outcomes is not None
        and first.images_sha256 is not None
        and first.images_sha256 == second.images_sha256
        and first.count == second.count
    )
    if paired and first.outcomes is not None and second.outcomes is not None:
        only_before = int(np.sum(first.outcomes & ~second.outcomes))
        only_after = int(np.sum(second.outcomes & ~first.outcomes))
        facts = {
            "test": "mcnemar",
            "p_value": mcnemar(only_before, only_after),
            "only_before": only_before,
            "only_after": only_after,
        }
    else:
        shares = (first.correct, first.count, second.correct, second.count)
        facts = {"test": "fisher", "p_value": fisher(*shares), "interval": newcombe(*shares)}
    return Difference(
        what=_name(place),
        where=place.text(),
        target=place.target,
        before=first.accuracy,
        after=second.accuracy,
        verdict=Verdict.SAME,
        **facts,
    )


def _adjusted(differences: list[Difference]) -> list[Difference]:
    """Add Holm's p-values. Targets answer alike, so each of them is a family of tests by itself."""
    found = list(differences)
    for target in {difference.target for difference in differences}:
        family = [
            (index, difference.p_value)
            for index, difference in enumerate(differences)
            if difference.target == target and difference.p_value is not None
        ]
        for (index, _), adjusted in zip(family, holm([p for _, p in family]), strict=True):
            found[index] = replace(found[index], p_adjusted=adjusted)
    return found


def _judge(difference: Difference, tolerances: Tolerances) -> Difference:
    """Decide about an accuracy that both runs have."""
    if difference.before is None or difference.after is None or difference.p_adjusted is None:
        return difference
    drop = difference.before - difference.after
    allowed = tolerances.accuracy_drop if difference.what == "accuracy" else tolerances.robustness_drop
    if drop <= 0:
        verdict = Verdict.BETTER if drop < 0 else Verdict.SAME
    elif drop <= allowed + 1e-12:
        verdict = Verdict.TOLERATED
    else:
        verdict = Verdict.REGRESSION if difference.p_adjusted <= tolerances.alpha else Verdict.CHANCE
    return replace(difference, verdict=verdict)


def _exactness(place: Place, first: Score, second: Score, tolerances: Tolerances) -> Iterable[Difference]:
    """Divergences, where there are any, and measured cycles."""
    if first.divergences or second.divergences:
        more = second.divergences - first.divergences
        if more > tolerances.divergences_increase:
            verdict = Verdict.REGRESSION
        else:
            verdict = Verdict.TOLERATED if more > 0 else Verdict.BETTER if more < 0 else Verdict.SAME
        yield Difference(
            what="divergences",
            where=place.text(),
            target=place.target,
            before=first.divergences,
            after=second.divergences,
            verdict=verdict,
        )
    if place.attack == CLEAN and first.cycles is not None and second.cycles is not None:
        yield _relative("cycles", place, first.cycles, second.cycles, tolerances.cycles_increase)


def _logits(place: Place, first: Score, second: Score, *, same_network: bool) -> Iterable[Difference]:
    """Logits of clean images: a network that is the same must not answer anything else."""
    if first.logits is None or second.logits is None or first.images_sha256 != second.images_sha256:
        return
    if first.logits.shape != second.logits.shape:
        return
    changed = int((first.logits != second.logits).any(axis=1).sum())
    failing = Verdict.REGRESSION if same_network else Verdict.CHANGED
    yield Difference(
        what="images with other logits",
        where=place.text(),
        target=place.target,
        before=0,
        after=changed,
        verdict=failing if changed else Verdict.SAME,
    )


def _hardware(before: Snapshot, after: Snapshot, tolerances: Tolerances) -> Iterable[Difference]:
    for model, first in before.hardware.items():
        second = after.hardware.get(model)
        if second is None:
            continue
        for name, old in first.cycles.items():
            if name in second.cycles:
                yield _relative(name, model, old, second.cycles[name], tolerances.cycles_increase)
        for name, old in first.resources.items():
            if name in second.resources:
                yield _relative(name, model, old, second.resources[name], tolerances.resources_increase)


def _relative(what: str, where: Place | str, before: float, after: float, allowed: float) -> Difference:
    """A number that should not grow."""
    if after > before * (1 + allowed) + 1e-9:
        verdict = Verdict.REGRESSION
    elif after > before:
        verdict = Verdict.TOLERATED
    else:
        verdict = Verdict.BETTER if after < before else Verdict.SAME
    return Difference(
        what=what,
        where=where if isinstance(where, str) else where.text(),
        target="" if isinstance(where, str) else where.target,
        before=before,
        after=after,
        verdict=verdict,
    )
