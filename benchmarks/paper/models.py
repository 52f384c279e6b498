"""The paper's models by its letters: where their weights are, and who can compute them."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from attacks.drawing import drawing_parts, one_draw
from attacks.evaluation import evaluating
from attacks.streams import mixed
from attacks.torch_target import TorchTarget
from benchmarks.paper.rows import Row
from bitsiege.twins import make_twin
from export.graphfile import graph_hash
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.emulator import EmulatorTarget
from hw.folding import solve_folding
from hw.rtl_target import RtlTarget
from hw.target import ImageArray, Inference, Target, TargetKind
from quant_models.checkpoint import load_checkpoint
from quant_models.lean import frozen_forward
from quant_models.zoo import shipped, shipped_path

if TYPE_CHECKING:
    from export.graph import DataflowGraph

_FPS = 3000.0
_CLOCK_MHZ = 100.0
_DRAW_SEED = 0
# A float model's logits become integers on this step, so that it can answer queries like any target.
_LOGIT_STEPS = 2.0**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One column of the table.

    Attributes:
        key: The paper's letter, ``+`` for adversarial training, ``-hw`` for the form that hardware computes.
        title: In words.
        network: Name of the shipped network.
    """

    key: str
    title: str
    network: str

    @property
    def in_hardware(self) -> bool:
        """Whether the network has an exact integer form."""
        return "-hw" in self.key


MODELS = tuple(
    Model(key=key, title=title, network=network)
    for key, title, network in (
        ("A", "full precision", "paper-a-mnist"),
        ("A+", "full precision, adversarial training", "paper-a-mnist-robust"),
        ("B", "±1, not scaled", "paper-b-mnist"),
        ("B gate", "±1, not scaled, gradient gated as Hubara's", "paper-b-gate-mnist"),
        ("B+", "±1, not scaled, adversarial training", "paper-b-mnist-robust"),
        ("C", "±1, scaled", "paper-c-mnist"),
        ("C+", "±1, scaled, adversarial training", "paper-c-mnist-robust"),
        ("S", "stochastic, latent weights frozen as released", "paper-s-frozen-mnist"),
        ("S ste", "stochastic, trained straight through", "paper-s-mnist"),
        ("S+", "stochastic, adversarial training", "paper-s-mnist-robust"),
        ("B-hw", "B as hardware computes it", "paper-cnn-64-mnist"),
        ("B-hw+", "the same, adversarial training", "paper-cnn-64-mnist-robust"),
        ("C-hw", "C as hardware computes it", "paper-cnn-64-scaled-mnist"),
        ("C-hw+", "the same, adversarial training", "paper-cnn-64-scaled-mnist-robust"),
        ("S-hw", "S as hardware computes it", "paper-cnn-64-stochastic-mnist"),
        ("S-hw+", "the same, adversarial training", "paper-cnn-64-stochastic-mnist-robust"),
    )
)


def available() -> tuple[Model, ...]:
    """Return the models whose weights are there."""
    return tuple(model for model in MODELS if model.network in shipped())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A model that can be attacked.

    Attributes:
        model: Which one.
        module: Gives gradients.
        graph: Its integer form; None for a float model.
        hash: What identifies it: the graph's hash, else the checkpoint's.
    """

    model: Model
    module: nn.Module
    graph: DataflowGraph | None
    hash: str

    @property
    def has_signs(self) -> bool:
        """Whether it has ±1 activations."""
        return any(getattr(part, "emits_activation", False) for part in self.module.modules())

    def takes(self, row: Row) -> bool:
        """Whether a row makes sense for it."""
        if row.drawn_only and not self.is_drawn:
            return False
        if row.on_twin and self.graph is None:
            return False
        return "estimator" not in row.parameters or self.has_signs

    def gradients(self, row: Row) -> nn.Module:
        """Return what a row's attack differentiates.

        The integer graph's twin where the row asks for its narrow gates; the module itself where its signs'
        gradients are to be exchanged; else the same function with its weights quantised once, which has the
        module's own gradient in half the time.
        """
        if row.on_twin and self.graph is not None:
            return make_twin(self.module, self.graph)
        if "estimator" in row.parameters:
            return self.module
        return LeanModel(self.module)

    @property
    def is_drawn(self) -> bool:
        """Whether it draws weights."""
        return bool(drawing_parts(self.module))


@cache
def open_model(key: str) -> Opened:
    """Load a model by its letter, and lower it where it has an integer form."""
    from bitsiege.pipeline.digests import file_digest

    model = next(item for item in MODELS if item.key == key)
    path = shipped_path(model.network)
    checkpoint = load_checkpoint(path)
    module = checkpoint.build()
    if not model.in_hardware:
        return Opened(model=model, module=module, graph=None, hash=file_digest(path))
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "model.onnx"
        export_qonnx(module, onnx, input_shape=checkpoint.spec.input_shape)
        graph = lower_model(onnx)
    return Opened(model=model, module=module, graph=graph, hash=graph_hash(graph))


@cache
def judges_of(key: str, cache_dir: Path | None) -> list[Target]:
    """Return the targets that compute a model, the fastest exact one first."""
    opened = open_model(key)
    graph = opened.graph
    if graph is None:
        return [FloatTarget(opened.module)]
    folding = solve_folding(graph, fps=_FPS, clock_mhz=_CLOCK_MHZ)
    return [
        EmulatorTarget(graph, cache_dir=cache_dir, threads=1, seed=_DRAW_SEED),
        TorchTarget(opened.module, graph, seed=_DRAW_SEED),
        RtlTarget(graph, folding, cache_dir=cache_dir, workers=1, seed=_DRAW_SEED),
    ]


class LeanModel(nn.Module):
    """A trained module with its weights quantised once; it must not change any more."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # The layers that draw weights are found through it.
        self.module = module.eval().requires_grad_(False)
        self._forward = frozen_forward(module)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, K)`` of float32 ``(N, C, H, W)`` in [0, 1]."""
        return self._forward(images)


class FloatTarget:
    """A float model as a target, so that it can be asked and judged like the others.

    Its logits are rounded to integer multiples of 2**-20. Drawn weights are drawn once for each batch of
    images, as the paper's code does, from a stream that follows from the images: other images, other draws.
    """

    name = "torch"
    kind = TargetKind.SIMULATION

    def __init__(self, module: nn.Module, *, batch_size: int = 100) -> None:
        self._module, self._batch_size = module, batch_size

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute logits of uint8 images ``(N, H, W, C)``, int64 ``(N, K)``."""
        parts: list[torch.Tensor] = []
        with evaluating(self._module), torch.no_grad():
            for begin in range(0, len(images), self._batch_size):
                part = images[begin : begin + self._batch_size].astype(np.float32)
                pixels = torch.from_numpy(part).permute(0, 3, 1, 2).contiguous()
                with one_draw(
                    self._module, seed=mixed(_DRAW_SEED, first_frame + begin, zlib.crc32(part.tobytes()))
                ):
                    parts.append(self._module(pixels / 255))
        return Inference(logits=(torch.cat(parts).double() * _LOGIT_STEPS).round().long().numpy())
