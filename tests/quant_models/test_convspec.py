from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from export.errors import InputError
from quant_models.convspec import CONV_PRESETS, ConvSpec, ConvStage, network_from_dict
from quant_models.spec import PRESETS


@pytest.mark.parametrize("spec", [*CONV_PRESETS.values(), *PRESETS.values()], ids=lambda spec: spec.name)
def test_json_gives_the_spec_back(spec: Any) -> None:
    assert network_from_dict(json.loads(spec.to_json())) == spec


def test_sizes_of_the_presets() -> None:
    assert CONV_PRESETS["cnv"].widths == (256, 512, 512, 10)
    assert CONV_PRESETS["paper-cnn-128"].widths == (256, 10)
    assert CONV_PRESETS["paper-cnn-128"].channels == (1, 128, 256, 256)


def _dict(**changes: Any) -> dict[str, Any]:
    stage = {"channels": 2, "kernel": 3}
    return {
        "kind": "conv",
        "name": "x",
        "input_shape": [6, 6, 1],
        "stages": [stage],
        "classes": 3,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "rnn"}, r"spec\.kind"),
        ({"depth": 3}, r"spec\.depth: unknown"),
        ({"stages": []}, r"spec\.stages"),
        ({"stages": [{"channels": 2}]}, r"spec\.stages\[0\]\.kernel: missing"),
        ({"stages": [{"channels": 2, "kernel": 7}]}, r"stages\[0\]\.kernel"),
        ({"stages": [{"channels": 2, "kernel": 3, "padding": 1}]}, r"stages\[0\]\.padding"),
        ({"stages": [{"channels": 2, "kernel": 3, "activation": 9}]}, r"stages\[0\]\.activation"),
        ({"stages": [{"channels": True, "kernel": 3}]}, r"stages\[0\]\.channels"),
        ({"classes": 1}, r"spec\.classes"),
        ({"classifier": "float"}, r"spec\.classifier"),
    ],
)
def test_bad_fields_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network_from_dict(_dict(**changes))


def test_sums_must_fit_float32() -> None:
    stage = ConvStage(channels=512, kernel=8, weights="int8")
    spec = ConvSpec(name="x", input_shape=(8, 8, 8), stages=(stage,), classes=2, input_grid="unsigned")
    with pytest.raises(InputError, match="sums"):
        replace(spec, input_shape=(8, 8, 9))
