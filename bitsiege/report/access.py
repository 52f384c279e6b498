"""What an attacker sees, by the attack's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attacks.catalog import ATTACKS, make_attack
from attacks.gradient import GradientAttack
from attacks.threat import Norm
from export.errors import BitsiegeError

WHITE_BOX = "white box"
SCORES = "black box, scores"
LABELS = "black box, labels"
TRANSFER = "transfer"
NOISE = "noise"
BLACK_BOX = (SCORES, LABELS)
STYLES: Mapping[str, str] = {
    WHITE_BOX: "solid",
    SCORES: "dashed",
    LABELS: "dotted",
    TRANSFER: "dashdot",
    NOISE: "dotted",
}

_LABELS_ONLY = frozenset({"boundary", "hopskipjump", "saltpepper"})
_FROM_ANOTHER = frozenset({"substitute"})
_BLIND = frozenset({"noise"})


def access_of(name: str, *, black_box: bool = False) -> str:
    """Return what the named attack sees.

    Args:
        name: Of the attack.
        black_box: Whether it asked a target; it decides for an attack that this program doesn't know.
    """
    if name in _BLIND:
        return NOISE
    if name in _FROM_ANOTHER:
        return TRANSFER
    if name in _LABELS_ONLY:
        return LABELS
    if name in ATTACKS:
        return WHITE_BOX if issubclass(ATTACKS[name], GradientAttack) else SCORES
    return SCORES if black_box else WHITE_BOX


def norm_of(name: str, parameters: Mapping[str, Any]) -> str:
    """Return the norm of an attack that has no result yet; L∞ for one that this program doesn't know."""
    try:
        return str(make_attack(name, **parameters).norm)
    except BitsiegeError:
        return str(Norm.LINF)
