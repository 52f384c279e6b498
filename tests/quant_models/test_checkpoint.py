from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from export.errors import InputError
from quant_models.checkpoint import (
    FORMAT,
    HEADER,
    CheckpointMetadata,
    load_checkpoint,
    save_checkpoint,
)
from quant_models.layerstate import pack_signs, unpack_signs
from quant_models.mlp import BinaryMlp, build_model
from quant_models.spec import MlpSpec

_METADATA = CheckpointMetadata(
    dataset="columns",
    seed=7,
    command="bitsiege train any.toml --out DIR",
    epochs=3,
    validation_accuracy=0.5,
    test_accuracy=0.25,
    config={"epochs": 3},
    versions={"torch": "2"},
    notes="±1",
)


def _trained(**changes: Any) -> BinaryMlp:
    fields: dict[str, Any] = {
        "name": "any",
        "input_shape": (4, 5, 1),
        "hidden": (9, 7),
        "classes": 3,
    } | changes
    model = build_model(MlpSpec(**fields))
    for _ in range(3):
        model(torch.rand(16, fields["input_shape"][2], 4, 5))
    return model.eval()


@pytest.mark.parametrize(
    "changes",
    [{}, {"input_mode": "uint8"}, {"output_affine": True}, {"hidden": ()}, {"input_shape": (4, 5, 3)}],
)
def test_restored_network_computes_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = _trained(**changes)
    save_checkpoint(tmp_path / "a.safetensors", model, _METADATA)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    restored = loaded.build()
    x = torch.rand(50, model.spec.input_shape[2], 4, 5)
    assert torch.equal(restored(x), model(x))
    assert not restored.training
    assert (loaded.spec, loaded.metadata) == (model.spec, _METADATA)


def test_saving_a_restored_network_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_checkpoint(first, _trained(output_affine=True), _METADATA)
    save_checkpoint(second, load_checkpoint(first).build(), _METADATA)
    assert first.read_bytes() == second.read_bytes()


def test_building_leaves_the_random_state_alone(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.safetensors", _trained(), _METADATA)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    before = torch.get_rng_state()
    loaded.build()
    assert torch.equal(torch.get_rng_state(), before)


@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.floats(-1, 1, width=32)
    )
)
def test_packing_keeps_signs(weights: np.ndarray) -> None:
    assert np.array_equal(unpack_signs(pack_signs(weights), weights.shape[1]), np.where(weights >= 0, 1, -1))


def test_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="eval mode"):
        save_checkpoint(tmp_path / "a.safetensors", _trained().train(), _METADATA)


def test_full_disk_leaves_nothing() -> None:
    with pytest.raises(InputError, match="can't write"):
        save_checkpoint(Path("/dev/full"), _trained(), _METADATA)


@pytest.fixture
def damage(tmp_path: Path) -> Callable[..., Path]:
    """Write a good checkpoint with some tensors or header entries replaced; None removes one."""

    def write(arrays: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> Path:
        path = tmp_path / "a.safetensors"
        model = _trained()
        save_checkpoint(path, model, _METADATA)
        good = {"format": FORMAT, "version": 1, "spec": model.spec.to_dict(), "metadata": {}}
        tensors = load_file(path) | (arrays or {})
        save_file(
            {name: value for name, value in tensors.items() if value is not None},
            path,
            metadata={HEADER: json.dumps(good | (header or {}))},
        )
        return path

    return write


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"linear.1.bits": None}, "linear.1.bits: missing"),
        ({"extra": np.zeros(1)}, "extra: unexpected"),
        ({"linear.0.bits": np.zeros((9, 20), np.uint8)}, "linear.0.bits: expected uint8"),
        ({"norm.0.beta": np.zeros(9)}, "norm.0.beta: expected float32"),
        ({"norm.0.mean": np.full(9, np.nan, np.float32)}, "norm.0.mean: holds NaN"),
        ({"norm.1.gamma": np.full(7, np.inf, np.float32)}, "norm.1.gamma: holds NaN or infinity"),
        ({"norm.1.var": np.full(7, -1, np.float32)}, "norm.1.var: holds a negative"),
    ],
)
def test_bad_tensor_is_named(damage: Callable[..., Path], arrays: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError) as caught:
        load_checkpoint(damage(arrays=arrays))
    assert fault in caught.value.message


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ({"format": None}, "no checkpoint of a ±1 network"),
        ({"version": 2}, "version 2"),
        ({"spec": {}}, "missing"),
        ({"spec": None}, "must be an object"),
        ({"spec": {"hidden": [1 << 60]}}, "missing"),
        ({"metadata": {"x": 1}}, "unknown fields"),
        ({"metadata": []}, "unknown fields"),
    ],
)
def test_bad_header_is_named(damage: Callable[..., Path], header: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError) as caught:
        load_checkpoint(damage(header=header))
    assert fault in caught.value.message


def test_missing_file_and_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(InputError):
            load_checkpoint(path)


@settings(max_examples=40)
@given(data=st.binary(max_size=200), cut=st.integers(0, 2000))
def test_only_our_errors_come_out(data: bytes, cut: int, damage: Callable[..., Path]) -> None:
    path = damage()
    good = path.read_bytes()
    for content in (data, good[:cut], good[:cut] + data + good[cut + len(data) :]):
        path.write_bytes(content)
        with suppress(InputError):
            load_checkpoint(path)
