"""The state of an unfinished training in a safetensors file: weights, optimiser, the best epoch so far."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from export.files import atomic_file
from quant_models.mlp import Network

_FORMAT = "bitsiege-training"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(slots=True, kw_only=True)
class TrainState:
    """How far a training has come; it changes with every epoch.

    Attributes:
        epochs_done: Epochs trained.
        best_epoch: Epoch that `best` is from; 0 before the first.
        best_accuracy: Its validation accuracy in [0, 1]; None without a hold-out.
        best: The module's state at that epoch.
    """

    epochs_done: int
    best_epoch: int
    best_accuracy: float | None
    best: dict[str, Tensor]

    @staticmethod
    def fresh(model: Network) -> TrainState:
        """Return the state before the first epoch."""
        return TrainState(epochs_done=0, best_epoch=0, best_accuracy=None, best=_copy(model))

    def finish_epoch(self, model: Network, accuracy: float | None, *, is_settled: bool = True) -> None:
        """Count an epoch, and keep its weights if none were better; of equals the later one.

        Args:
            model: The network after it.
            accuracy: Its validation accuracy in [0, 1]; None without a hold-out.
            is_settled: Whether it can be compared with later ones; else the next one replaces it.
        """
        self.epochs_done += 1
        if not is_settled:
            accuracy = None
        if accuracy is None or self.best_accuracy is None or accuracy >= self.best_accuracy:
            self.best_epoch, self.best_accuracy, self.best = self.epochs_done, accuracy, _copy(model)


def save_state(path: Path, state: TrainState, model: Network, optimizer: torch.optim.Adam, key: str) -> None:
    """Write everything that going on needs, atomically; ``key`` names the training."""
    tensors = {f"model.{name}": value for name, value in _copy(model).items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for name, parameter in _trained(model):
        tensors |= {f"adam.{name}.{moment}": optimizer.state[parameter][moment] for moment in _MOMENTS}
    progress = {
        "key": key,
        "epochs_done": state.epochs_done,
        "best_epoch": state.best_epoch,
        "best_accuracy": state.best_accuracy,
    }
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata={"format": _FORMAT, "progress": json.dumps(progress)})


def load_state(path: Path, model: Network, optimizer: torch.optim.Adam, key: str) -> TrainState | None:
    """Put a saved state into model and optimiser.

    Returns:
        How far it had come; None where there is no file, or it is damaged or of another training. Such a file
        is no error: training starts anew, which costs time and nothing else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = cast("dict[str, str]", file.metadata() or {})
            progress = json.loads(header.get("progress", "{}"))
            if header.get("format") != _FORMAT or progress.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None
    model.load_state_dict(_under("model.", tensors))
    for name, parameter in _trained(model):
        optimizer.state[parameter] = {moment: tensors[f"adam.{name}.{moment}"] for moment in _MOMENTS}
    return TrainState(
        epochs_done=progress["epochs_done"],
        best_epoch=progress["best_epoch"],
        best_accuracy=progress["best_accuracy"],
        best=_under("best.", tensors),
    )


def _trained(model: Network) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, part) for name, part in model.named_parameters() if part.requires_grad]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _copy(model: Network) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
