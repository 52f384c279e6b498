from typing import Any

import pytest
from pydantic import ValidationError

from attacks.catalog import make_attack
from bitsiege.attackconfig import AttackConfig, AttackTable
from bitsiege.campaign.config import CampaignAttack


@pytest.mark.parametrize("kind", [AttackConfig, CampaignAttack])
def test_parameters_may_stand_beside_the_name_or_in_a_table(kind: type[AttackTable]):
    flat = kind.model_validate({"name": "pgd", "epsilons": [0.1], "steps": 7, "norm": "l2"})
    nested = kind.model_validate({"name": "pgd", "epsilons": [0.1], "parameters": {"steps": 7, "norm": "l2"}})
    assert flat == nested
    assert (flat.label, flat.parameters) == ("pgd-l2", {"steps": 7, "norm": "l2"})
    assert make_attack("pgd", **flat.arguments(0.1)).eps == 0.1
    assert kind.model_validate(flat.model_dump(mode="json")) == flat


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": True}, "steps of pgd must be a whole number, not True"),
        ({"steps": 2.5}, "steps of pgd must be a whole number, not 2.5"),
        ({"step_size": "0.1"}, "step_size of pgd must be a number, not '0.1'"),
        ({"norm": "l7"}, "unknown norm 'l7'; known: linf, l2"),
        ({"steps": 3, "parameters": {"steps": 3}}, "steps is there twice"),
        ({"parameters": {"epsilons": [0.1]}}, "epsilons belongs to the table"),
        ({"parameters": 3}, "parameters must be a table"),
        ({"eps": 0.2}, "give epsilons instead of eps"),
        ({"stps": 1}, "pgd has no parameter 'stps'; did you mean steps? known: label, name, epsilons, norm"),
        ({"label": "a/b"}, "label"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str):
    with pytest.raises(ValidationError) as caught:
        AttackConfig.model_validate({"name": "pgd", "epsilons": [0.1], **values})
    assert message in str(caught.value)


def test_a_whole_number_is_a_number():
    assert AttackConfig.model_validate({"name": "cw", "learning_rate": 1}).parameters == {"learning_rate": 1}
