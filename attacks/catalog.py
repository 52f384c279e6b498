"""The attacks by name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from attacks.base import Attack
from attacks.fgsm import Fgsm
from attacks.goal import Goal
from attacks.pgd import Pgd
from export.errors import InputError

ATTACKS: Mapping[str, type[Attack]] = {attack.name: attack for attack in (Fgsm, Pgd)}


def make_attack(name: str, **parameters: Any) -> Attack:
    """Return the named attack; ``goal`` may be a string.

    Raises:
        InputError: An unknown attack or parameter, with the nearest known one, or a value out of range.
    """
    if name not in ATTACKS:
        raise InputError(f"unknown attack {name!r}", hint=f"known: {', '.join(sorted(ATTACKS))}", attack=name)
    known = [field.name for field in dataclasses.fields(ATTACKS[name])]
    for parameter in parameters:
        if parameter not in known:
            near = difflib.get_close_matches(parameter, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"{name} has no parameter {parameter!r}", hint=hint, attack=name)
    if "eps" not in parameters:
        raise InputError(f"{name} needs a budget eps", hint="for example eps=0.1", attack=name)
    if isinstance(goal := parameters.get("goal"), str):
        if goal not in list(Goal):
            raise InputError(f"unknown goal {goal!r}", hint="known: untargeted, next, random", attack=name)
        parameters["goal"] = Goal(goal)
    return ATTACKS[name](**parameters)
