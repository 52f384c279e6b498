from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.errors import InputError
from quant_models.spec import PRESETS, MlpSpec, spec_from_dict, spec_from_json

_SIZE = st.integers(1, 50)


@given(
    shape=st.tuples(_SIZE, _SIZE, st.integers(1, 4)),
    hidden=st.lists(_SIZE, max_size=5).map(tuple),
    classes=st.integers(2, 20),
    input_mode=st.sampled_from(["binary", "uint8"]),
)
def test_json_round_trip(shape: Any, hidden: Any, classes: int, input_mode: Any) -> None:
    spec = MlpSpec(name="any", input_shape=shape, hidden=hidden, classes=classes, input_mode=input_mode)
    assert spec_from_json(spec.to_json()) == spec
    assert spec.widths[0] == shape[0] * shape[1] * shape[2]


def test_presets_are_the_known_networks() -> None:
    assert {name: spec.widths for name, spec in PRESETS.items()} == {
        "tfc": (784, 64, 64, 64, 10),
        "sfc": (784, 256, 256, 256, 10),
        "lfc": (784, 1024, 1024, 1024, 10),
    }
    assert {spec.input_mode for spec in PRESETS.values()} == {"binary"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hidden": [64, 0]}, "hidden"),
        ({"hidden": [64, True]}, "hidden"),
        ({"hidden": 64}, "hidden"),
        ({"hidden": [1 << 17]}, "hidden"),
        ({"hidden": [1] * 65}, "hidden"),
        ({"input_shape": [28, 28]}, "input_shape"),
        ({"input_shape": [28.0, 28, 1]}, "input_shape"),
        ({"input_shape": [1024, 1024, 1]}, "input_shape"),
        ({"classes": 1}, "classes"),
        ({"classes": "10"}, "classes"),
        ({"input_mode": "float"}, "input_mode"),
        ({"name": "a/b"}, "name"),
        ({"name": 3}, "name"),
        ({"output_affine": 1}, "output_affine"),
        ({"hidden": [], "output_affine": True}, "output_affine"),
        ({"depth": 3}, "depth"),
    ],
)
def test_bad_field_is_named(change: dict[str, Any], field: str) -> None:
    values = PRESETS["tfc"].to_dict() | change
    with pytest.raises(InputError, match=rf"^model\.{field}: "):
        spec_from_dict(values, where="model")


def test_missing_field_is_named() -> None:
    values = PRESETS["tfc"].to_dict()
    del values["classes"]
    with pytest.raises(InputError, match=r"^spec\.classes: missing"):
        spec_from_dict(values)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"tfc"', json.dumps([1])])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        spec_from_json(text)
