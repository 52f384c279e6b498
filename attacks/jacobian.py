"""A substitute of a target, trained by its labels on images that grow along the substitute's gradients."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from attacks.inputs import require, require_count
from attacks.oracle import Oracle
from attacks.substitutefile import Trained, perceptron
from export.graph import IntArray
from hw.target import ImageArray, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a substitute is trained.

    Attributes:
        hidden: Neurons of the hidden layers.
        rounds: Times that the network is trained; between them the images double.
        epochs: Passes over the images in each round.
        step: How far a new image is from its parent, per pixel in [0, 1]; rounded to the grid.
        batch_size: Images of a training step.
        learning_rate: Of Adam.
    """

    hidden: tuple[int, ...] = (200, 200)
    rounds: int = 6
    epochs: int = 10
    step: float = 0.1
    batch_size: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        for what, value in (("rounds", self.rounds), ("epochs", self.epochs), ("batch", self.batch_size)):
            require_count(f"the substitute's {what}", value, least=1)
        for neurons in self.hidden:
            require_count("a substitute's hidden layer", neurons, least=1)
        require(0 < self.step <= 1, f"the substitute's step must be above 0 and at most 1, not {self.step}")
        require(self.learning_rate > 0, f"the learning rate must be above 0, not {self.learning_rate}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Substitute:
    """What came of it.

    Attributes:
        model: Takes float32 ``(N, C, H, W)`` in [0, 1], returns logits ``(N, K)``.
        images: All that the target was asked for, uint8 ``(M, H, W, C)``.
        labels: The target's, int64 ``(M,)``.
    """

    model: nn.Module
    images: ImageArray
    labels: IntArray

    def trained(self) -> Trained:
        """Return it without its images."""
        return Trained(model=self.model, queries=len(self.labels))


def train_substitute(
    target: Target, seeds: ImageArray, recipe: Recipe, *, seed: int, max_queries: int
) -> Substitute:
    """Train a network to answer as the target does.

    One thread, and random numbers of its own: the same arguments give the same network.

    Args:
        target: Gives labels; nothing else of it is used.
        seeds: Held-out images, uint8 ``(S, H, W, C)``.
        recipe: How.
        seed: Of the weights and of the order of the images.
        max_queries: Most images that the target is asked for, in all; the images stop growing there.

    Raises:
        InputError: More held-out images than queries, or none.

    References:
        Papernot and others, Practical black-box attacks against machine learning (AsiaCCS 2017), algorithm 1.
        Each new image is written behind all that there are and labelled by the target itself.
    """
    require(0 < len(seeds) <= max_queries, f"{len(seeds)} held-out images, {max_queries} queries in all")
    oracle = Oracle(target, max_queries, limit=1)
    logits = oracle.logits(seeds, np.arange(len(seeds)))
    images, labels = seeds, logits.argmax(axis=1)
    with _deterministic(seed):
        model = perceptron([int(np.prod(seeds.shape[1:])), *recipe.hidden, logits.shape[1]])
        for number in range(recipe.rounds):
            _fit(model, images, labels, recipe)
            if number + 1 == recipe.rounds or len(images) == max_queries:
                continue
            grown = augment(model, images, labels, recipe.step)[: max_queries - len(images)]
            answers = oracle.logits(grown, np.arange(len(images), len(images) + len(grown)))
            images = np.concatenate([images, grown])
            labels = np.concatenate([labels, answers.argmax(axis=1)])
    return Substitute(model=model.eval(), images=images, labels=labels)


def augment(model: nn.Module, images: ImageArray, labels: IntArray, step: float) -> ImageArray:
    """Return one new image for each, a step along the sign of its own label's gradient.

    Args:
        model: The substitute.
        images: uint8 ``(N, H, W, C)``.
        labels: The target's for them, int64 ``(N,)``.
        step: Per pixel in [0, 1].
    """
    pixels = _pixels(images).requires_grad_()
    logits = model(pixels).gather(1, torch.from_numpy(labels)[:, None])
    (gradient,) = torch.autograd.grad(logits.sum(), pixels)
    sign = gradient.sign().permute(0, 2, 3, 1).numpy().astype(np.int16)
    return np.clip(images + max(round(255 * step), 1) * sign, 0, 255).astype(np.uint8)


def _fit(model: nn.Module, images: ImageArray, labels: IntArray, recipe: Recipe) -> None:
    pixels, truth = _pixels(images), torch.from_numpy(labels)
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(pixels)).split(recipe.batch_size):
            optimiser.zero_grad()
            loss_of(model(pixels[rows]), truth[rows]).backward()
            optimiser.step()


def _pixels(images: ImageArray) -> Tensor:
    # astype copies: torch warns of arrays that it may not write to.
    return torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).contiguous() / 255


@contextmanager
def _deterministic(seed: int) -> Generator[None]:
    """Compute in one thread, whose sums have one order, with random numbers that follow from the seed."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
