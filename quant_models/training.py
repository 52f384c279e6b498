"""Training of ±1 networks: deterministic for a seed and a thread count, and resumable after a kill."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from export.errors import InputError
from quant_models.augment import mirror_half, random_affine
from quant_models.checkpoint import CheckpointMetadata, save_checkpoint
from quant_models.convspec import NetworkSpec
from quant_models.data import Dataset, ImageSet
from quant_models.evaluation import accuracy, as_tensors
from quant_models.idx import read_bytes
from quant_models.layers import WEIGHT_LAYERS, Scale, quantise_weights
from quant_models.mlp import Network, build_model
from quant_models.noise import add_sign_noise
from quant_models.objective import Objective, load_teacher, teacher_path
from quant_models.papernet import SignConv2d
from quant_models.recalibration import recalibrate
from quant_models.spec import MlpSpec
from quant_models.stochastic import StochasticConv2d
from quant_models.trainconfig import TrainConfig, adversarial_radius, learning_rate
from quant_models.trainstate import TrainState, load_state, save_state

__all__ = ["EpochReport", "TrainConfig", "TrainResult", "accuracy", "train"]

_ALGORITHM = 1
_VERSIONED_PACKAGES = ("brevitas", "numpy", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """One epoch.

    Attributes:
        epoch: Counted from 1.
        epochs: How many are planned.
        loss: Mean training loss.
        validation_accuracy: In [0, 1]; None without a hold-out.
        learning_rate: At the epoch's end.
        seconds: Wall time of the epoch [s].
    """

    epoch: int
    epochs: int
    loss: float
    validation_accuracy: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training gave.

    Attributes:
        checkpoint: The file written.
        metadata: What the file says about itself.
        epochs: Epochs trained.
        best_epoch: The epoch that was kept.
        validation_accuracy: Of the kept epoch, in [0, 1]; None without a hold-out.
        test_accuracy: On all test images, in [0, 1].
        resumed_at: Epochs that an earlier, interrupted call had already done.
    """

    checkpoint: Path
    metadata: CheckpointMetadata
    epochs: int
    best_epoch: int
    validation_accuracy: float | None
    test_accuracy: float
    resumed_at: int


Progress = Callable[[EpochReport], None]


def train(
    spec: NetworkSpec,
    dataset: Dataset,
    config: TrainConfig,
    *,
    checkpoint: Path,
    progress: Progress | None = None,
    command: str = "",
    save_every_s: float = 1.0,
) -> TrainResult:
    """Train a network and write its checkpoint.

    After an epoch the whole state goes to ``<checkpoint's stem>.training.safetensors``; a later call with the
    same arguments goes on from there and ends with the same weights. The file is removed at the end.

    Args:
        spec: The network; its input shape and classes must be the data set's.
        dataset: The data set. Its test images are used once, for the accuracy reported at the end.
        config: How to train.
        checkpoint: File to write.
        progress: Called after each epoch; what it raises ends the training, which can be resumed.
        command: Command line to keep in the checkpoint.
        save_every_s: Least time between two writes of the state [s].

    Raises:
        InputError: The network doesn't fit the data set, the training diverged, or a file can't be written.
    """
    _check_fit(spec, dataset)
    state_path = checkpoint.with_name(f"{checkpoint.stem}.training.safetensors")
    key = _fingerprint(spec, dataset, config)
    with _isolated_torch(config):
        torch.manual_seed(config.seed)
        model = build_model(spec)
        run = _Run(model, dataset, config)
        state = load_state(state_path, model, run.optimizer, key) or TrainState.fresh(model)
        resumed_at = state.epochs_done
        saved = time.monotonic()
        while not _is_finished(state, config):
            report = run.epoch(state)
            last = _is_finished(state, config)
            if last or time.monotonic() - saved >= save_every_s:
                save_state(state_path, state, model, run.optimizer, key)
                saved = time.monotonic()
            if progress is not None:
                progress(report)
        model.load_state_dict(state.best)
        model.eval()
        if config.recalibration_images:
            recalibrate(model, run.pixels[: config.recalibration_images])
        test_accuracy = accuracy(model, dataset.test)
    metadata = CheckpointMetadata(
        dataset=dataset.name,
        seed=config.seed,
        command=command,
        epochs=state.epochs_done,
        validation_accuracy=state.best_accuracy,
        test_accuracy=test_accuracy,
        config=asdict(config),
        versions={name: version(name) for name in _VERSIONED_PACKAGES},
        notes=f"epoch {state.best_epoch} was kept; of latent weights, what multiplies is stored",
    )
    save_checkpoint(checkpoint, model, metadata)
    state_path.unlink(missing_ok=True)
    return TrainResult(
        checkpoint=checkpoint,
        metadata=metadata,
        epochs=state.epochs_done,
        best_epoch=state.best_epoch,
        validation_accuracy=state.best_accuracy,
        test_accuracy=test_accuracy,
        resumed_at=resumed_at,
    )


class _Run:
    """One training: the data as tensors, the optimiser, and the step."""

    def __init__(self, model: Network, dataset: Dataset, config: TrainConfig) -> None:
        self.model = model
        self.config = config
        kept, held_out = _split(dataset.train, config)
        self.held_out = held_out
        self.pixels, self.labels = as_tensors(kept)
        self.batch_size = min(config.batch_size, len(self.labels))
        self.steps = len(self.labels) // self.batch_size
        for layer in model.modules():
            if isinstance(layer, StochasticConv2d) and config.frozen_means:
                layer.weight.requires_grad_(False)
        learnt = [part for part in model.parameters() if part.requires_grad]
        self.optimizer = torch.optim.Adam(learnt, lr=config.learning_rate, fused=True)
        clipped = [layer for layer in model.modules() if _is_clipped(layer)]
        self.latent_weights = [cast("Tensor", layer.weight) for layer in clipped]
        self.scales = [layer for layer in model.modules() if isinstance(layer, Scale)]
        # Convolutions are about 1.3 times faster on the CPU with the channels last.
        is_dense = isinstance(model.spec, MlpSpec)
        self.memory_format = torch.contiguous_format if is_dense else torch.channels_last
        self.objective = Objective(model, config, load_teacher(config, model), self.memory_format)
        add_sign_noise(model, config.sign_noise, config.sign_noise_kind)

    def epoch(self, state: TrainState) -> EpochReport:
        """Train one epoch and update ``state``."""
        started = time.monotonic()
        # Seeding each epoch by its number makes a resumed training draw what an unbroken one draws.
        torch.manual_seed(_mix(self.config.seed, state.epochs_done + 1))
        self.model.train()
        quantise_weights(self.model, state.epochs_done >= self.config.real_weight_epochs)
        order = torch.randperm(len(self.labels))
        total = 0.0
        rate = 0.0
        for step in range(self.steps):
            rate = learning_rate(self.config, state.epochs_done + step / self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            radius = adversarial_radius(self.config, state.epochs_done + step / self.steps)
            total += self._step(order[step * self.batch_size : (step + 1) * self.batch_size], radius)
        loss = total / self.steps
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {state.epochs_done + 1}: the loss is {loss}",
                hint="lower train.learning_rate",
            )
        self.model.eval()
        # Held-out images always see signs.
        quantise_weights(self.model, True)
        found = accuracy(self.model, self.held_out) if self.held_out is not None else None
        # Epochs before the full radius say nothing about how the robust network will do.
        is_settled = adversarial_radius(self.config, state.epochs_done) == self.config.adversarial_epsilon
        state.finish_epoch(self.model, found, is_settled=is_settled)
        return EpochReport(
            epoch=state.epochs_done,
            epochs=self.config.epochs,
            loss=loss,
            validation_accuracy=found,
            learning_rate=rate,
            seconds=time.monotonic() - started,
        )

    def _step(self, chosen: Tensor, radius: float) -> float:
        config = self.config
        images = random_affine(
            self.pixels[chosen].float(),
            shift_pixels=config.shift_pixels,
            rotate_degrees=config.rotate_degrees,
            zoom=config.zoom,
        )
        # The network rounds to the 8-bit grid itself, so a distorted image is one that hardware can see.
        images, labels = images / 255.0, self.labels[chosen]
        if config.flip:
            images = mirror_half(images)
        images = images.contiguous(memory_format=self.memory_format)
        loss = self.objective.loss(images, labels, radius)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for weight in self.latent_weights:
                weight.clamp_(-1.0, 1.0)
            for scale in self.scales:
                scale.weight.clamp_(min=Scale.lowest)
        return float(loss.detach())


def _is_clipped(layer: nn.Module) -> bool:
    """Whether it has latent weights that are kept in [-1, 1]."""
    is_gated = isinstance(layer, SignConv2d) and layer.gradient == "gate"
    return is_gated or isinstance(layer, WEIGHT_LAYERS)


def _split(images: ImageSet, config: TrainConfig) -> tuple[ImageSet, ImageSet | None]:
    count = round(len(images) * config.validation_fraction)
    if count == 0:
        return images, None
    order = np.random.default_rng(config.seed).permutation(len(images))
    return images.take(order[count:]), images.take(order[:count])


def _is_finished(state: TrainState, config: TrainConfig) -> bool:
    stale = state.epochs_done - state.best_epoch
    return state.epochs_done >= config.epochs or bool(config.patience and stale >= config.patience)


def _check_fit(spec: NetworkSpec, dataset: Dataset) -> None:
    wanted = (dataset.input_shape, len(dataset.classes))
    if (spec.input_shape, spec.classes) != wanted:
        raise InputError(
            f"network {spec.name} takes images {spec.input_shape} and has {spec.classes} classes; "
            f"{dataset.name} has {wanted[0]} and {wanted[1]}",
            hint="give the network the data set's shape and classes",
        )


def _fingerprint(spec: NetworkSpec, dataset: Dataset, config: TrainConfig) -> str:
    parts = [_ALGORITHM, spec.to_dict(), asdict(config), dataset.train.fingerprint()]
    if config.teacher:
        parts.append(hashlib.sha256(read_bytes(teacher_path(config.teacher))).hexdigest())
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _mix(seed: int, epoch: int) -> int:
    """Return a 63-bit seed of its own for an epoch."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@contextmanager
def _isolated_torch(config: TrainConfig) -> Generator[None]:
    """Keep the caller's random state and thread count."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(config.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
