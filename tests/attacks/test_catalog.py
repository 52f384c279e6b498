from __future__ import annotations

import pytest

from attacks.catalog import make_attack
from attacks.goal import Goal
from attacks.pgd import Pgd
from export.errors import InputError


def test_parameters_come_back_as_an_equal_attack():
    attack = Pgd(eps=0.1, goal=Goal.NEXT, steps=7, momentum=0.5, seed=9)
    assert make_attack("pgd", **attack.parameters()) == attack


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("pdg", {"eps": 0.1}, "known: .*fgsm.*, pgd"),
        ("pgd", {"eps": 0.1, "step": 3}, "did you mean steps"),
        ("fgsm", {}, "needs a budget"),
        ("pgd", {"eps": 0.1, "goal": "win"}, "known: untargeted"),
    ],
)
def test_wrong_names_are_answered_with_the_known_ones(name, parameters, words):
    with pytest.raises(InputError, match=words):
        make_attack(name, **parameters)
