from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from export.errors import InputError
from quant_models.convspec import CONV_PRESETS, network_from_dict
from quant_models.paperspec import PAPER_PRESETS, require_integer_form


@pytest.mark.parametrize("name", PAPER_PRESETS)
def test_json_form_gives_it_back(name: str) -> None:
    spec = replace(PAPER_PRESETS[name], sign_gradient="gate")
    assert network_from_dict(json.loads(spec.to_json())) == spec


def test_presets_are_the_papers() -> None:
    assert len(PAPER_PRESETS) == 12
    assert [PAPER_PRESETS[f"paper-{letter}-64"].variant for letter in "abcs"] == [
        "float",
        "binary",
        "scaled",
        "stochastic",
    ]
    spec = PAPER_PRESETS["paper-c-128"]
    assert spec.convolutions == ((128, 1, 8, 2), (256, 128, 6, 2), (256, 256, 5, 1))
    assert spec.flattened == 256
    assert replace(spec, input_shape=(32, 32, 3)).flattened == 1024


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a/b"),
        ("input_shape", (26, 28, 1)),
        ("input_shape", [28, 28, 1]),
        ("features", 0),
        ("features", True),
        ("classes", 1),
        ("variant", "ternary"),
        ("sign_gradient", "identity"),
    ],
)
def test_bad_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        replace(PAPER_PRESETS["paper-b-64"], **{field: value})


def test_unknown_key_is_refused_with_its_path() -> None:
    values = PAPER_PRESETS["paper-b-64"].to_dict() | {"depth": 4}
    with pytest.raises(InputError, match=r"here\.depth: unknown key"):
        network_from_dict(values, where="here")


def test_no_integer_form_and_the_way_out() -> None:
    for name, preset in (("paper-a-64", "paper-cnn-64"), ("paper-s-128", "paper-cnn-128-stochastic")):
        assert preset in CONV_PRESETS
        with pytest.raises(InputError, match=f"{name} has a float first") as caught:
            require_integer_form(PAPER_PRESETS[name])
        assert f"the preset {preset} " in caught.value.hint
    require_integer_form(CONV_PRESETS["paper-cnn-64"])
