"""Training of dense networks that exact verification can handle: sparse {-1, 0, 1} weights, steady neurons.

After Jia and Rinard, "Efficient exact verification of binarized neural networks" (NeurIPS 2020), with parts
of our own. Every neuron keeps its strongest connections and drops the others, so that a sum has few terms;
pixels enter as one bit, so that few of them can change inside a ball; the network trains on flips of those
pixels that raise its loss; and first-layer neurons whose sign such flips can change are penalised, as Xiao et
al. (ICLR 2019) do for ReLU.

The result are integers: they are the network, and the floats of the training are of no further use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.errors import InputError
from quant_models.augment import random_affine
from quant_models.data import ImageSet

THRESHOLD = 128
"""A pixel is +1 from this grey level on, else -1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseConfig:
    """A network and its training.

    Attributes:
        hidden: Neurons of each hidden layer.
        fan_in: Connections of each neuron, for the hidden layers and the logits.
        epsilon: L∞ radius that it trains against, in [0, 1].
        attack_steps: Steps of the attack on each batch.
        steadiness: Weight of the penalty on neurons that the ball can flip.
        epochs: Passes over the images.
        batch_size: Images in a step.
        learning_rate: Highest; it falls as a half cosine.
        shift_pixels: Largest random shift of an image.
        rotate_degrees: Largest random rotation.
        zoom: Largest random change of size, relative.
        seed: Of everything random.
    """

    hidden: tuple[int, ...] = (512, 128)
    fan_in: tuple[int, ...] = (24, 32, 128)
    epsilon: float = 0.1
    attack_steps: int = 2
    steadiness: float = 0.01
    epochs: int = 40
    batch_size: int = 256
    learning_rate: float = 0.005
    shift_pixels: float = 1.0
    rotate_degrees: float = 5.0
    zoom: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        good = len(self.fan_in) == len(self.hidden) + 1 and len(self.hidden) >= 1
        good = good and min(*self.hidden, *self.fan_in, self.epochs, self.attack_steps) >= 1
        if not (good and self.batch_size >= 2 and 0 <= self.epsilon <= 1 and self.steadiness >= 0):
            raise InputError("a sparse network needs one fan-in more than hidden layers, and counts above 0")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseNetwork:
    """A trained network in integers.

    Attributes:
        weights: int8 ``(neurons, inputs)`` in {-1, 0, 1} for each layer, the logits' last.
        thresholds: int64 ``(neurons,)`` for each hidden layer: +1 where the sum is at least that.
        bias: Of the logits, int64 ``(classes,)``.
    """

    weights: tuple[npt.NDArray[np.int8], ...]
    thresholds: tuple[npt.NDArray[np.int64], ...]
    bias: npt.NDArray[np.int64]


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.where(values >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return gradients[0] * (values.abs() <= 1)


class _SparseLinear(nn.Module):
    """Signs of each neuron's strongest latent weights, 0 for the others; all latent weights get gradients."""

    def __init__(self, inputs: int, outputs: int, fan_in: int) -> None:
        super().__init__()
        self.fan_in = min(fan_in, inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-0.5, 0.5))
        self.ternary = torch.empty(0)
        self.choose()

    @torch.no_grad()
    def choose(self) -> None:
        """Set `ternary`, the weights that multiply, ``(outputs, inputs)`` in {-1, 0, 1}."""
        strongest = self.weight.abs().topk(self.fan_in, dim=1).indices
        signs = torch.sign(self.weight.gather(1, strongest))
        self.ternary = torch.zeros_like(self.weight).scatter(1, strongest, signs)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return values @ self.ternary.T
        return values @ (self.ternary + self.weight - self.weight.detach()).T


class _SparseMlp(nn.Module):
    """The network while it trains."""

    def __init__(self, inputs: int, classes: int, config: SparseConfig) -> None:
        super().__init__()
        widths = (inputs, *config.hidden, classes)
        self.linears = nn.ModuleList(
            _SparseLinear(*sizes) for sizes in zip(widths[:-1], widths[1:], config.fan_in, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(size, affine=False) for size in config.hidden)
        self.shifts = nn.ParameterList(torch.zeros(size) for size in config.hidden)
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the first layer's sums relative to its thresholds, in weights."""
        first: Tensor | None = None
        for linear, norm, shift in zip(self.linears, self.norms, self.shifts, strict=False):
            scaled = cast("Tensor", norm(linear(values)) + shift)
            if first is None:
                variance = cast("Tensor", norm.running_var)
                first = scaled * (variance + cast("float", norm.eps)).sqrt()
            values = cast("Tensor", _Sign.apply(scaled))
        last = cast("_SparseLinear", self.linears[-1])
        logits = last(values) / math.sqrt(last.fan_in) + self.bias
        if first is None:
            raise ValueError("a network without hidden layers")
        return logits, first

    def integers(self) -> SparseNetwork:
        """Return the network that was learnt: thresholds rounded up, the logits' bias to the nearest."""
        thresholds: list[npt.NDArray[np.int64]] = []
        for norm, shift in zip(self.norms, self.shifts, strict=True):
            variance, mean = cast("Tensor", norm.running_var), cast("Tensor", norm.running_mean)
            at = (
                mean.double() - shift.detach().double() * (variance.double() + cast("float", norm.eps)).sqrt()
            )
            thresholds.append(np.ceil(at.numpy()).astype(np.int64))
        last = cast("_SparseLinear", self.linears[-1])
        return SparseNetwork(
            weights=tuple(
                cast("_SparseLinear", linear).ternary.numpy().astype(np.int8) for linear in self.linears
            ),
            thresholds=tuple(thresholds),
            bias=np.rint(self.bias.detach().numpy() * math.sqrt(last.fan_in)).astype(np.int64),
        )


def train_sparse(
    images: ImageSet,
    config: SparseConfig,
    *,
    classes: int,
    progress: Callable[[int, float, SparseNetwork], None] | None = None,
) -> SparseNetwork:
    """Train a network; the same arguments give the same integers.

    Args:
        images: Training images; they enter flattened in NHWC order.
        config: Network and training.
        classes: Number of classes.
        progress: Called after each epoch with its number from 1, the mean loss and the network so far.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        pixels = torch.tensor(np.ascontiguousarray(np.moveaxis(images.images, 3, 1)))
        labels = torch.tensor(images.labels.astype(np.int64))
        model = _SparseMlp(pixels[0].numel(), classes, config)
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        steps = len(labels) // config.batch_size
        for epoch in range(config.epochs):
            total = 0.0
            order = torch.randperm(len(labels))
            for step in range(steps):
                part = (epoch + step / steps) / config.epochs
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * part))
                chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
                strength = config.steadiness * min(1.0, 4 * part)
                total += _step(model, optimizer, pixels[chosen], labels[chosen], config, strength)
            if progress is not None:
                progress(epoch + 1, total / steps, model.integers())
        return model.integers()


def _step(
    model: _SparseMlp,
    optimizer: torch.optim.Optimizer,
    pixels: Tensor,
    labels: Tensor,
    config: SparseConfig,
    steadiness: float,
) -> float:
    grey = random_affine(
        pixels.float(),
        shift_pixels=config.shift_pixels,
        rotate_degrees=config.rotate_degrees,
        zoom=config.zoom,
    )
    grey = grey.round().permute(0, 2, 3, 1).flatten(1)
    radius = math.floor(255 * config.epsilon + 1e-9)
    bits = torch.where(grey >= THRESHOLD, 1.0, -1.0)
    free = (grey - radius < THRESHOLD) & (grey + radius >= THRESHOLD)
    worst = _flipped(model, bits, free, labels, config.attack_steps)
    logits, first = model(worst)
    loss = functional.cross_entropy(logits, labels)
    if steadiness:
        layer = cast("_SparseLinear", model.linears[0])
        # A flip moves a sum by two; inside the ball a sum moves by at most twice the free inputs it has.
        room = 2 * free.float() @ layer.ternary.abs().T
        loss = loss + steadiness * functional.relu(room - first.abs()).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for linear in model.linears:
            cast("_SparseLinear", linear).weight.clamp_(-1.0, 1.0)
            cast("_SparseLinear", linear).choose()
    return float(loss.detach())


def _flipped(model: _SparseMlp, bits: Tensor, free: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Set the free bits where the loss rises, some at random, and keep the worst for each image."""
    model.eval()
    current = torch.where(free & (torch.rand_like(bits) < 0.5), -bits, bits)
    worst, highest = bits, torch.full((len(bits),), -math.inf)
    for step in range(steps + 1):
        current = current.detach().requires_grad_(True)
        losses = functional.cross_entropy(model(current)[0], labels, reduction="none")
        better = losses.detach() > highest
        worst = torch.where(better[:, None], current.detach(), worst)
        highest = torch.maximum(highest, losses.detach())
        if step < steps:
            (gradient,) = torch.autograd.grad(losses.sum(), current)
            current = torch.where(free, torch.where(gradient >= 0, 1.0, -1.0), current.detach())
    model.train()
    return worst
