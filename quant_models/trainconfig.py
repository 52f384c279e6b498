"""Settings of a training, and the learning rate that follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from export.errors import InputError

NoiseKind = Literal["uniform", "gaussian"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to train. Adam; the learning rate rises linearly at first, then falls to 0 as a half cosine.

    Attributes:
        epochs: Passes over the training images, at most.
        batch_size: Images in one step; an incomplete last batch is left out.
        learning_rate: The highest.
        warmup_epochs: Epochs in which the learning rate rises.
        patience: Epochs without a better validation accuracy before it stops; 0 never stops early.
        validation_fraction: Part of the *training* images held out to choose the best epoch, in [0, 0.5]; 0
            keeps the last epoch.
        shift_pixels: Largest random shift of a training image [pixels].
        rotate_degrees: Largest random rotation [degrees].
        zoom: Largest random change of size and shear, relative.
        flip: Mirror half of the training images, left to right.
        real_weight_epochs: First epochs in which ±1 weights are left real, from -1 to 1, so that only
            activations are binary; the signs of what they learnt are where the ±1 weights start from.
        adversarial_epsilon: Train on adversarial images of this L∞ radius, in [0, 1]; 0 doesn't.
        adversarial_steps: Gradient steps to each such image: 1 is FGSM, more are PGD.
        adversarial_step_size: Change of a pixel in one step, in [0, 1]; 0 takes 1.25 radii for one step, and
            2.5 radii over the number of steps for several.
        adversarial_random_start: Whether the steps start at a random image of the ball.
        adversarial_random_epsilon: Whether each image has a radius of its own, |TN(0, epsilon / 2)|: a normal
            distribution cut at two deviations, so that ``adversarial_epsilon`` is the largest.
        adversarial_delay: First epochs without adversarial images.
        adversarial_ramp: Epochs after those in which the radius rises from 0, linearly.
        adversarial_share: Weight of the adversarial images' loss, in (0, 1]; the rest is their originals'.
        teacher: Name of a shipped network, or path of a checkpoint, to learn from; empty for none.
        distill_temperature: Divides the logits of both in the distance to the teacher.
        distill_share: Weight of that distance, in (0, 1]; the rest is the labels' loss.
        sign_noise: Noise in front of hidden signs in training: half-width or standard deviation; 0 for none.
        sign_noise_kind: ``uniform`` or ``gaussian``.
        frozen_means: Leave the means of drawn weights as they start: only the other layers learn.
        recalibration_images: Training images, from the first on, that BatchNorm's statistics come from
            at the end; 0 keeps training's running averages.
        seed: Of weights, hold-out, order and distortions.
        threads: torch's threads while training; another number gives other roundings, so other weights.
    """

    epochs: int = 60
    batch_size: int = 512
    learning_rate: float = 0.005
    warmup_epochs: float = 1.0
    patience: int = 0
    validation_fraction: float = 0.05
    shift_pixels: float = 0.0
    rotate_degrees: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    real_weight_epochs: int = 0
    adversarial_epsilon: float = 0.0
    adversarial_steps: int = 1
    adversarial_step_size: float = 0.0
    adversarial_random_start: bool = True
    adversarial_random_epsilon: bool = False
    adversarial_delay: int = 0
    adversarial_ramp: float = 0.0
    adversarial_share: float = 1.0
    teacher: str = ""
    distill_temperature: float = 4.0
    distill_share: float = 0.9
    sign_noise: float = 0.0
    sign_noise_kind: NoiseKind = "uniform"
    frozen_means: bool = False
    recalibration_images: int = 0
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        within = {
            "epochs": 1 <= self.epochs <= 1_000_000,
            "batch_size": self.batch_size >= 2,
            "learning_rate": 0 < self.learning_rate <= 10,
            "warmup_epochs": 0 <= self.warmup_epochs <= self.epochs,
            "patience": self.patience >= 0,
            "validation_fraction": 0 <= self.validation_fraction <= 0.5,
            "shift_pixels": 0 <= self.shift_pixels <= 1000,
            "rotate_degrees": 0 <= self.rotate_degrees <= 180,
            "zoom": 0 <= self.zoom < 1,
            "real_weight_epochs": 0 <= self.real_weight_epochs < self.epochs,
            "adversarial_epsilon": 0 <= self.adversarial_epsilon <= 1,
            "adversarial_steps": 1 <= self.adversarial_steps <= 1000,
            "adversarial_step_size": 0 <= self.adversarial_step_size <= 1,
            "adversarial_delay": 0 <= self.adversarial_delay < self.epochs,
            "adversarial_ramp": 0 <= self.adversarial_ramp <= self.epochs - self.adversarial_delay,
            "adversarial_share": 0 < self.adversarial_share <= 1,
            "distill_temperature": 0 < self.distill_temperature <= 1000,
            "distill_share": 0 < self.distill_share <= 1,
            "sign_noise": 0 <= self.sign_noise <= 100,
            "sign_noise_kind": self.sign_noise_kind in get_args(NoiseKind),
            "recalibration_images": self.recalibration_images == 0 or self.recalibration_images >= 2,
            "seed": 0 <= self.seed < 1 << 63,
            "threads": 1 <= self.threads <= 1024,
        }
        for name, is_valid in within.items():
            if not is_valid:
                raise InputError(f"train.{name}: {getattr(self, name)} is out of range", field=name)
        if self.patience and not self.validation_fraction:
            raise InputError("train.patience: needs a validation_fraction above 0", field="patience")


def learning_rate(config: TrainConfig, epoch: float) -> float:
    """Return the learning rate after ``epoch`` epochs (fractions count)."""
    rise = min(1.0, (epoch + 1e-3) / config.warmup_epochs) if config.warmup_epochs else 1.0
    return config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / config.epochs)))


def adversarial_radius(config: TrainConfig, epoch: float) -> float:
    """Return the L∞ radius after ``epoch`` epochs (fractions count); 0 before the delay is over."""
    since = epoch - config.adversarial_delay
    if since < 0:
        return 0.0
    rise = min(1.0, since / config.adversarial_ramp) if config.adversarial_ramp else 1.0
    return config.adversarial_epsilon * rise
