"""Trained networks as safetensors files: packed ±1 weights, BatchNorm statistics and how they came about.

The file's header has one entry, ``bitsiege``: JSON of `format`, `version`, `spec` and `metadata`. (Several
entries would be written in random order, and the same network should give the same bytes.) The tensors, with
i counting the layers of that kind from 0:

- ``conv.<i>.bits``, ``linear.<i>.bits``: uint8 ``(outputs, ceil(inputs / 8))``; bit 1 is +1, the first input
  is the lowest bit. The inputs of a convolution are in the order channel, row, column.
- ``conv.<i>.values``, ``linear.<i>.values``: instead of the bits, int8 weights from -127 to 127 in torch's
  shape, and ``.exponent``, int32 ``(1,)``: each stands for itself times ``2**-exponent``.
- ``conv.<i>.means``: of drawn weights instead of the bits, their means in steps of 2**-7, int8 in torch's
  shape.
- ``conv.<i>.floats``, ``linear.<i>.floats``: of layers that are not quantised, float32 in torch's shape.
- ``norm.<i>.gamma``, ``.beta``, ``.mean``, ``.var``: float32 ``(channels,)``, in the order of the network.
- ``scale.<i>``: float32 ``()``, the scalar after a convolution that has one.
- ``affine.scale``, ``affine.offset``: float32 ``(classes,)``, only with `MlpSpec.output_affine`.

The latent magnitudes that training keeps behind each ±1 weight are dropped: a restored network computes
exactly what the trained one did, but it is no starting point for more training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from export.errors import InputError
from export.files import atomic_file
from quant_models.convspec import NetworkSpec, network_from_dict
from quant_models.layers import WEIGHT_EXPONENT
from quant_models.layerstate import Arrays, expected_layout, network_arrays, restore_network
from quant_models.mlp import Network, build_model

HEADER = "bitsiege"
FORMAT = "checkpoint"
VERSION = 1
_WAY_OUT = "train it again with `bitsiege train`, or restore the file"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointMetadata:
    """How a network came about.

    Attributes:
        dataset: Name of the data set.
        seed: Seed of initial weights, shuffling and augmentation.
        command: Command line that made it.
        epochs: Epochs trained.
        validation_accuracy: On images held out of the training set, in [0, 1].
        test_accuracy: On the whole test set, in [0, 1].
        config: The training configuration's fields, JSON-able.
        versions: Versions of the packages that shaped the weights.
        notes: Anything else worth knowing.
    """

    dataset: str = ""
    seed: int = 0
    command: str = ""
    epochs: int = 0
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained network as read from a file.

    Attributes:
        spec: The network's shape.
        metadata: How it came about.
        arrays: The file's tensors, checked against `spec`.
    """

    spec: NetworkSpec
    metadata: CheckpointMetadata
    arrays: Arrays

    def build(self) -> Network:
        """Return the network in eval mode; its latent weights are ±1."""
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.spec)
        restore_network(model, self.arrays)
        return model.eval()


def save_checkpoint(path: Path, model: Network, metadata: CheckpointMetadata) -> None:
    """Write a network, atomically.

    Args:
        path: File to write, usually ``*.safetensors``.
        model: The network, in eval mode.
        metadata: How it came about.

    Raises:
        ValueError: The network is in training mode.
        InputError: The file can't be written.
    """
    if model.training:
        raise ValueError("switch the network to eval mode before saving it")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "spec": model.spec.to_dict(),
        "metadata": asdict(metadata),
    }
    with atomic_file(path) as temporary:
        save_file(
            dict(network_arrays(model)), temporary, metadata={HEADER: json.dumps(header, sort_keys=True)}
        )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a file that `save_checkpoint` wrote; nothing in it is executed.

    Raises:
        InputError: The file is missing, damaged, of another version, or its tensors don't fit its spec.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = _read_header(cast("dict[str, str]", file.metadata() or {}))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint", hint=_WAY_OUT) from error
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}", hint=_WAY_OUT) from error
    if header.get("format") != FORMAT:
        raise InputError(f"{path}: a safetensors file, but no checkpoint of a ±1 network", hint=_WAY_OUT)
    if header.get("version") != VERSION:
        found = header.get("version")
        raise InputError(f"{path}: checkpoint version {found!r}, known is {VERSION!r}", hint=_WAY_OUT)
    spec = network_from_dict(header.get("spec"), where=f"{path}: spec")
    _check_arrays(arrays, spec, path)
    return Checkpoint(spec=spec, metadata=_metadata(header.get("metadata"), path), arrays=arrays)


def _check_arrays(arrays: Arrays, spec: NetworkSpec, path: Path) -> None:
    expected = expected_layout(spec)
    if odd := sorted(set(arrays) ^ set(expected)):
        state = "unexpected" if odd[0] in arrays else "missing"
        raise InputError(f"{path}: {odd[0]}: {state} tensor", hint=_WAY_OUT)
    for name, (shape, dtype) in expected.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            wanted = f"{np.dtype(dtype)} {shape}"
            raise InputError(
                f"{path}: {name}: expected {wanted}, got {array.dtype} {array.shape}", hint=_WAY_OUT
            )
        if array.dtype == np.float32 and not np.all(np.isfinite(array)):
            raise InputError(f"{path}: {name}: holds NaN or infinity", hint=_WAY_OUT)
        if name.endswith(".var") and np.any(array < 0):
            raise InputError(f"{path}: {name}: holds a negative variance", hint=_WAY_OUT)
        if name.startswith("scale.") and array <= 0:
            raise InputError(f"{path}: {name}: is not positive", hint=_WAY_OUT)
        if name.endswith(".values") and np.any(array == -128):
            raise InputError(f"{path}: {name}: holds -128, weights go from -127", hint=_WAY_OUT)
        if name.endswith(".exponent") and array[0] != WEIGHT_EXPONENT:
            raise InputError(f"{path}: {name}: is {array[0]}, known is {WEIGHT_EXPONENT}", hint=_WAY_OUT)


def _read_header(entries: Mapping[str, str]) -> dict[str, Any]:
    header = json.loads(entries.get(HEADER, "{}"))
    return cast("dict[str, Any]", header) if isinstance(header, dict) else {}


def _metadata(values: object, path: Path) -> CheckpointMetadata:
    known = {item.name for item in fields(CheckpointMetadata)}
    if not isinstance(values, dict) or not set(cast("dict[str, Any]", values)) <= known:
        raise InputError(f"{path}: metadata is missing or has unknown fields", hint=_WAY_OUT)
    return CheckpointMetadata(**cast("dict[str, Any]", values))
