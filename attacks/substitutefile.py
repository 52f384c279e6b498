"""A trained substitute as bytes: trained once, it attacks anywhere and at any budget."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from export.errors import InputError

_MAX_LAYERS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A substitute without the images that it was trained on.

    Attributes:
        model: Takes float32 ``(N, C, H, W)`` in [0, 1], returns logits ``(N, K)``.
        queries: Images that the target was asked for.
    """

    model: nn.Module
    queries: int


def perceptron(sizes: list[int]) -> nn.Sequential:
    """Return a dense network with ReLUs between its layers, of these widths from inputs to classes."""
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in pairwise(sizes[:-1]):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def trained_bytes(trained: Trained) -> bytes:
    """Return a substitute as the bytes of an .npz file; equal weights give equal bytes."""
    dense = [layer for layer in trained.model.modules() if isinstance(layer, nn.Linear)]
    arrays: dict[str, Any] = {"queries": np.array(trained.queries, np.int64)}
    for index, layer in enumerate(dense):
        arrays[f"weight.{index}"] = layer.weight.detach().numpy()
        arrays[f"bias.{index}"] = layer.bias.detach().numpy()
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def read_trained(data: bytes) -> Trained:
    """Read what `trained_bytes` wrote; nothing in it is executed.

    Raises:
        InputError: The bytes are damaged.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        queries = int(arrays.pop("queries"))
        count = len(arrays) // 2
        if not 0 < count <= _MAX_LAYERS:
            raise ValueError(f"{count} layers")
        weights = [torch.from_numpy(arrays[f"weight.{index}"]) for index in range(count)]
        biases = [torch.from_numpy(arrays[f"bias.{index}"]) for index in range(count)]
        # On the meta device nothing is drawn, so no stream of random numbers moves.
        with torch.device("meta"):
            model = perceptron([weights[0].shape[1], *(len(weight) for weight in weights)])
        state = {}
        for index, name in enumerate(name for name, layer in model.named_children() if _is_dense(layer)):
            state |= {f"{name}.weight": weights[index], f"{name}.bias": biases[index]}
        model.load_state_dict(state, assign=True)
    except (OSError, ValueError, KeyError, EOFError, IndexError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"a trained substitute is damaged: {error}", hint="train it again") from error
    return Trained(model=model.eval().requires_grad_(False), queries=queries)


def _is_dense(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear)
