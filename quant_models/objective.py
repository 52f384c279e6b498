"""What training makes small: the loss of images, of adversarial ones, and the distance to a teacher."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from export.errors import InputError
from quant_models.adversarial import adversarial_images
from quant_models.checkpoint import load_checkpoint
from quant_models.mlp import Network
from quant_models.stochastic import one_draw
from quant_models.trainconfig import TrainConfig
from quant_models.zoo import shipped, shipped_path


class Objective:
    """The loss of a batch.

    Attributes:
        model: The network that learns.
        config: How to train.
        teacher: A network to learn from, in eval mode; None learns from labels alone.
        memory_format: Of the images that the network sees.
    """

    def __init__(
        self, model: Network, config: TrainConfig, teacher: Network | None, memory_format: torch.memory_format
    ) -> None:
        self.model = model
        self.config = config
        self.teacher = teacher
        self.memory_format = memory_format

    def loss(self, images: Tensor, labels: Tensor, radius: float) -> Tensor:
        """Return the loss of the images, of adversarial ones in their place, or of both in their shares.

        Args:
            images: float32 ``(N, C, H, W)`` in [0, 1].
            labels: int64 ``(N,)``.
            radius: Of adversarial images; 0 makes none.
        """
        soft = self._soft_labels(images)
        if not radius:
            return self._distance(self.model(images), labels, soft)
        adversarial = adversarial_images(self.model, images, labels, radius=radius, config=self.config)
        share = self.config.adversarial_share
        if share == 1.0:
            return self._distance(self.model(adversarial), labels, soft)
        # One pass over both, so that BatchNorm's statistics are those of what the network will see.
        both = torch.cat([images, adversarial]).contiguous(memory_format=self.memory_format)
        clean, moved = self.model(both).chunk(2)
        distances = [self._distance(logits, labels, soft) for logits in (clean, moved)]
        return (1 - share) * distances[0] + share * distances[1]

    @torch.no_grad()
    def _soft_labels(self, images: Tensor) -> Tensor | None:
        """Return the teacher's probabilities of the images as they are, before any attack."""
        if self.teacher is None:
            return None
        with one_draw(self.teacher):
            return (self.teacher(images) / self.config.distill_temperature).softmax(dim=1)

    def _distance(self, logits: Tensor, labels: Tensor, soft: Tensor | None) -> Tensor:
        """Return cross-entropy, or Hinton's mixture of it with that to the soft labels (2015, section 2)."""
        if soft is None:
            return functional.cross_entropy(logits, labels)
        share, temperature = self.config.distill_share, self.config.distill_temperature
        # Soft labels' gradients shrink with the temperature squared.
        taught = temperature**2 * functional.cross_entropy(logits / temperature, soft)
        if share == 1.0:
            return taught
        return share * taught + (1 - share) * functional.cross_entropy(logits, labels)


def teacher_path(name: str) -> Path:
    """Return the checkpoint of a shipped network's name, or the path itself."""
    return shipped_path(name) if name in shipped() else Path(name)


def load_teacher(config: TrainConfig, student: Network) -> Network | None:
    """Return the network that ``config.teacher`` names, or None where it names none.

    Raises:
        InputError: It is no checkpoint, or takes other images or classes than the student.
    """
    if not config.teacher:
        return None
    teacher = load_checkpoint(teacher_path(config.teacher)).build()
    wanted, found = ((net.spec.input_shape, net.spec.classes) for net in (student, teacher))
    if wanted != found:
        raise InputError(
            f"train.teacher: {config.teacher} takes images {found[0]} and has {found[1]} classes; "
            f"{student.spec.name} has {wanted[0]} and {wanted[1]}",
            hint="a teacher needs the images and classes of the network that learns",
        )
    return teacher.requires_grad_(False)
