"""Trained networks as safetensors files: packed ±1 weights, BatchNorm statistics and how they came about.

The file's header has one entry, ``bitsiege``: JSON of `format`, `version`, `spec` and `metadata`. (Several
entries would be written in random order, and the same network should give the same bytes.) The tensors, with
i counting the dense layers from 0:

- ``linear.<i>.bits``: uint8 ``(outputs, ceil(inputs / 8))``; bit 1 is +1, the first input is the lowest bit.
- ``norm.<i>.gamma``, ``.beta``, ``.mean``, ``.var``: float32 ``(outputs,)`` of each hidden layer.
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
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from export.errors import InputError
from export.files import atomic_file
from quant_models.layers import BatchNorm, BinaryLinear
from quant_models.mlp import BinaryMlp, build_model
from quant_models.spec import MlpSpec, spec_from_dict

HEADER = "bitsiege"
FORMAT = "checkpoint"
VERSION = 1
_WAY_OUT = "train it again with `bitsiege train`, or restore the file"

Arrays = Mapping[str, npt.NDArray[Any]]


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

    spec: MlpSpec
    metadata: CheckpointMetadata
    arrays: Arrays

    def build(self) -> BinaryMlp:
        """Return the network in eval mode; its latent weights are ±1."""
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.spec)
        _restore(model, self.arrays)
        return model.eval()


def save_checkpoint(path: Path, model: BinaryMlp, metadata: CheckpointMetadata) -> None:
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
        save_file(dict(_arrays(model)), temporary, metadata={HEADER: json.dumps(header, sort_keys=True)})


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
    spec = spec_from_dict(header.get("spec"), where=f"{path}: spec")
    _check_arrays(arrays, spec, path)
    return Checkpoint(spec=spec, metadata=_metadata(header.get("metadata"), path), arrays=arrays)


def pack_signs(weights: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Pack the signs of ``(outputs, inputs)`` to bits along the inputs, +1 (and 0) as 1."""
    return np.packbits(weights >= 0, axis=1, bitorder="little")


def unpack_signs(bits: npt.NDArray[np.uint8], inputs: int) -> npt.NDArray[np.float32]:
    """Return float32 ±1 ``(outputs, inputs)``; the inverse of `pack_signs`."""
    ones = np.unpackbits(bits, axis=1, count=inputs, bitorder="little")
    return ones.astype(np.float32) * np.float32(2) - np.float32(1)


def _linears(model: BinaryMlp) -> list[BinaryLinear]:
    return [layer for layer in model.modules() if isinstance(layer, BinaryLinear)]


def _norms(model: BinaryMlp) -> list[BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, BatchNorm)]


def _norm_tensors(norm: BatchNorm) -> dict[str, torch.Tensor]:
    return {"gamma": norm.weight, "beta": norm.bias, "mean": norm.running_mean, "var": norm.running_var}


def _arrays(model: BinaryMlp) -> Arrays:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for index, linear in enumerate(_linears(model)):
        arrays[f"linear.{index}.bits"] = pack_signs(linear.weight.detach().numpy())
    for index, norm in enumerate(_norms(model)):
        for name, tensor in _norm_tensors(norm).items():
            arrays[f"norm.{index}.{name}"] = tensor.detach().numpy().copy()
    if model.affine is not None:
        arrays["affine.scale"] = model.affine.scale.numpy().copy()
        arrays["affine.offset"] = model.affine.offset.numpy().copy()
    return arrays


@torch.no_grad()
def _restore(model: BinaryMlp, arrays: Arrays) -> None:
    for index, linear in enumerate(_linears(model)):
        signs = unpack_signs(arrays[f"linear.{index}.bits"], linear.in_features)
        linear.weight.copy_(torch.from_numpy(signs))
    for index, norm in enumerate(_norms(model)):
        for name, tensor in _norm_tensors(norm).items():
            tensor.copy_(torch.from_numpy(arrays[f"norm.{index}.{name}"]))
    if model.affine is not None:
        model.affine.weight.copy_(torch.from_numpy(arrays["affine.scale"]))
        model.affine.bias.copy_(torch.from_numpy(arrays["affine.offset"]))


def _expected(spec: MlpSpec) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {}
    for index, (inputs, outputs) in enumerate(zip(spec.widths[:-1], spec.widths[1:], strict=True)):
        expected[f"linear.{index}.bits"] = (outputs, -(-inputs // 8)), np.uint8
    for index, width in enumerate(spec.hidden):
        expected |= {
            f"norm.{index}.{name}": ((width,), np.float32) for name in ("gamma", "beta", "mean", "var")
        }
    if spec.output_affine:
        expected |= {f"affine.{name}": ((spec.classes,), np.float32) for name in ("scale", "offset")}
    return expected


def _check_arrays(arrays: Arrays, spec: MlpSpec, path: Path) -> None:
    expected = _expected(spec)
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


def _read_header(entries: Mapping[str, str]) -> dict[str, Any]:
    header = json.loads(entries.get(HEADER, "{}"))
    return cast("dict[str, Any]", header) if isinstance(header, dict) else {}


def _metadata(values: object, path: Path) -> CheckpointMetadata:
    known = {item.name for item in fields(CheckpointMetadata)}
    if not isinstance(values, dict) or not set(cast("dict[str, Any]", values)) <= known:
        raise InputError(f"{path}: metadata is missing or has unknown fields", hint=_WAY_OUT)
    return CheckpointMetadata(**cast("dict[str, Any]", values))
