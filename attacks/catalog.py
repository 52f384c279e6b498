"""The attacks by name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attacks.apgd import ApgdCe, ApgdDlr, ApgdT
from attacks.base import Attack
from attacks.bim import Bim
from attacks.boundary import Boundary
from attacks.cw import CarliniWagner
from attacks.deepfool import DeepFool
from attacks.estimators import Estimator
from attacks.fgsm import Fgsm
from attacks.goal import Goal
from attacks.gradient import Form
from attacks.hopskipjump import HopSkipJump
from attacks.iprop import Iprop
from attacks.jsma import Jsma
from attacks.nes import Nes, Spsa
from attacks.noise import Noise
from attacks.objectives import Objective
from attacks.pgd import Pgd
from attacks.saltpepper import SaltPepper
from attacks.square import Square
from attacks.substitute import SubstituteAttack
from attacks.temperature import Scaling
from attacks.threat import Norm
from export.errors import InputError

ATTACKS: Mapping[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        *(Fgsm, Bim, Pgd, ApgdCe, ApgdDlr, ApgdT, CarliniWagner, DeepFool, Jsma, Iprop),
        *(Noise, Square, Nes, Spsa, HopSkipJump, Boundary, SaltPepper, SubstituteAttack),
    )
}
_CHOICES: Mapping[str, type[StrEnum]] = {
    "goal": Goal,
    "norm": Norm,
    "form": Form,
    "objective": Objective,
    "estimator": Estimator,
    "scaling": Scaling,
}


def make_attack(name: str, **parameters: Any) -> Attack:
    """Return the named attack; choices such as ``goal`` may be strings.

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
    return ATTACKS[name](**{key: _choice(key, value) for key, value in parameters.items()})


def minimises(name: str) -> bool:
    """Return whether the named attack looks for the smallest change; False for an unknown name."""
    return name in ATTACKS and ATTACKS[name].minimises


def _choice(parameter: str, value: Any) -> Any:
    """Return the member that a string names, for parameters that have a list of choices."""
    if parameter not in _CHOICES or not isinstance(value, str):
        return value
    known = _CHOICES[parameter]
    if value not in list(known):
        raise InputError(f"unknown {parameter} {value!r}", hint=f"known: {', '.join(known)}")
    return known(value)
