"""A network's tensors as a checkpoint stores them: packed signs, 8-bit integers, float32 statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from export.draws import MEAN_EXPONENT
from quant_models.convspec import ConvSpec, NetworkSpec, StageWeights
from quant_models.layers import (
    INT8_LAYERS,
    WEIGHT_EXPONENT,
    WEIGHT_LAYERS,
    BatchNorm,
    BinaryConv2d,
    Int8Conv2d,
    Scale,
)
from quant_models.mlp import BinaryMlp, Network
from quant_models.papernet import FLOAT_LAYERS, FloatConv2d, SignConv2d
from quant_models.paperspec import PaperSpec
from quant_models.resspec import STEM_KERNEL, ResNetSpec
from quant_models.stochastic import StochasticConv2d

Arrays = Mapping[str, npt.NDArray[Any]]
Layout = dict[str, tuple[tuple[int, ...], type[np.generic]]]

StoredWeights = StageWeights | Literal["float"]

_NORM = ("gamma", "beta", "mean", "var")


def pack_signs(weights: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Pack the signs of ``(outputs, inputs)`` to bits along the inputs, +1 (and 0) as 1."""
    return np.packbits(weights >= 0, axis=1, bitorder="little")


def unpack_signs(bits: npt.NDArray[np.uint8], inputs: int) -> npt.NDArray[np.float32]:
    """Return float32 ±1 ``(outputs, inputs)``; the inverse of `pack_signs`."""
    ones = np.unpackbits(bits, axis=1, count=inputs, bitorder="little")
    return ones.astype(np.float32) * np.float32(2) - np.float32(1)


def network_arrays(model: Network) -> Arrays:
    """Return all tensors of a network in eval mode."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, layer in _weighted(model):
        weight = layer.weight.detach().numpy()
        if isinstance(layer, StochasticConv2d):
            arrays[f"{name}.means"] = np.ascontiguousarray(layer.means())
        elif isinstance(layer, FLOAT_LAYERS):
            arrays[f"{name}.floats"] = np.array(weight, order="C")
        elif isinstance(layer, INT8_LAYERS):
            # Halves go to even, as in the layer's own rounding.
            steps = np.clip(np.rint(weight * np.float32(2.0**WEIGHT_EXPONENT)), -127, 127)
            arrays[f"{name}.values"] = np.ascontiguousarray(steps.astype(np.int8))
            arrays[f"{name}.exponent"] = np.array([WEIGHT_EXPONENT], dtype=np.int32)
        else:
            arrays[f"{name}.bits"] = pack_signs(weight.reshape(len(weight), -1))
    for name, tensor in _tensors(model, latent=False):
        arrays[name] = np.array(tensor.detach().numpy(), order="C")
    return arrays


@torch.no_grad()
def restore_network(model: Network, arrays: Arrays) -> None:
    """Put checked tensors into a network; latent weights become the weights themselves."""
    for name, layer in _weighted(model):
        weight = cast("Tensor", layer.weight)
        if isinstance(layer, StochasticConv2d):
            values = arrays[f"{name}.means"].astype(np.float32) * np.float32(2.0**-MEAN_EXPONENT)
        elif isinstance(layer, FLOAT_LAYERS):
            values = arrays[f"{name}.floats"]
        elif isinstance(layer, INT8_LAYERS):
            values = arrays[f"{name}.values"].astype(np.float32) * np.float32(2.0**-WEIGHT_EXPONENT)
        else:
            values = unpack_signs(arrays[f"{name}.bits"], prod(weight.shape[1:])).reshape(weight.shape)
        weight.copy_(torch.from_numpy(values))
    for name, tensor in _tensors(model, latent=True):
        tensor.copy_(torch.from_numpy(arrays[name]))


def expected_layout(spec: NetworkSpec) -> Layout:
    """Return shape and type of each tensor that a network's file must hold."""
    if isinstance(spec, ResNetSpec):
        return _resnet_layout(spec)
    if isinstance(spec, PaperSpec):
        return _paper_layout(spec)
    expected: Layout = {}
    norms = list(spec.hidden)
    classifier: StageWeights = "binary"
    if isinstance(spec, ConvSpec):
        classifier = spec.classifier
        for index, (inputs, stage) in enumerate(zip(spec.channels[:-1], spec.stages, strict=True)):
            shape = (stage.channels, inputs, stage.kernel, stage.kernel)
            expected |= _weight_layout(f"conv.{index}", shape, stage.weights)
        norms = [stage.channels for stage in spec.stages if stage.norm] + norms
        scales = sum(stage.scaled for stage in spec.stages)
        expected |= {f"scale.{index}": ((), np.float32) for index in range(scales)}
    elif spec.output_affine:
        expected |= {f"affine.{name}": ((spec.classes,), np.float32) for name in ("scale", "offset")}
    for index, (inputs, outputs) in enumerate(zip(spec.widths[:-1], spec.widths[1:], strict=True)):
        last = index == len(spec.hidden)
        expected |= _weight_layout(f"linear.{index}", (outputs, inputs), classifier if last else "binary")
    return expected | _norm_layout(norms)


def _resnet_layout(spec: ResNetSpec) -> Layout:
    stem = (spec.stages[0][0], spec.input_shape[2], STEM_KERNEL, STEM_KERNEL)
    expected = _weight_layout("conv.0", stem, "int8")
    norms = [stem[0]]
    for index, (outputs, inputs, kernel) in enumerate(spec.convolutions, start=1):
        expected |= _weight_layout(f"conv.{index}", (outputs, inputs, kernel, kernel), "binary")
        norms += [inputs, outputs]
    expected |= _weight_layout("linear.0", (spec.classes, spec.stages[-1][0]), "int8")
    return expected | _norm_layout(norms)


def _paper_layout(spec: PaperSpec) -> Layout:
    expected: Layout = {}
    for index, (outputs, inputs, kernel, _) in enumerate(spec.convolutions):
        weights: StoredWeights = "binary"
        if index == 0 or spec.variant == "float":
            weights = "float"
        elif spec.variant == "stochastic" and index == len(spec.convolutions) - 1:
            weights = "stochastic"
        expected |= _weight_layout(f"conv.{index}", (outputs, inputs, kernel, kernel), weights)
    expected |= _weight_layout("linear.0", (spec.classes, spec.flattened), "float")
    if spec.variant == "float":
        return expected
    inner = spec.convolutions[1:]
    if spec.variant != "binary":
        expected |= {f"scale.{index}": ((), np.float32) for index in range(len(inner))}
    return expected | _norm_layout([inputs for _, inputs, _, _ in inner])


def _norm_layout(widths: Sequence[int]) -> Layout:
    return {
        f"norm.{index}.{name}": ((width,), np.float32) for index, width in enumerate(widths) for name in _NORM
    }


def _weight_layout(name: str, shape: tuple[int, ...], weights: StoredWeights) -> Layout:
    if weights == "stochastic":
        return {f"{name}.means": (shape, np.int8)}
    if weights == "float":
        return {f"{name}.floats": (shape, np.float32)}
    if weights == "int8":
        return {f"{name}.values": (shape, np.int8), f"{name}.exponent": ((1,), np.int32)}
    return {f"{name}.bits": ((shape[0], -(-prod(shape[1:]) // 8)), np.uint8)}


def _weighted(model: Network) -> Iterator[tuple[str, Any]]:
    """Yield the layers with weights, convolutions and dense layers counted apart."""
    counts = {"conv": 0, "linear": 0}
    for layer in model.modules():
        if isinstance(layer, (*WEIGHT_LAYERS, *FLOAT_LAYERS, SignConv2d)):
            convolutions = (BinaryConv2d, Int8Conv2d, StochasticConv2d, SignConv2d, FloatConv2d)
            kind = "conv" if isinstance(layer, convolutions) else "linear"
            yield f"{kind}.{counts[kind]}", layer
            counts[kind] += 1


def _tensors(model: Network, *, latent: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield everything that is stored as float32."""
    norms = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
    for index, norm in enumerate(norms):
        parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        yield from ((f"norm.{index}.{name}", part) for name, part in zip(_NORM, parts, strict=True))
    scales = [layer for layer in model.modules() if isinstance(layer, Scale)]
    yield from ((f"scale.{index}", scale.weight) for index, scale in enumerate(scales))
    if isinstance(model, BinaryMlp) and model.affine is not None:
        # Eval mode freezes the latent values into the others, which are what a file holds.
        yield "affine.scale", model.affine.weight if latent else model.affine.scale
        yield "affine.offset", model.affine.bias if latent else model.affine.offset
