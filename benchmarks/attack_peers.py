"""Other libraries' PGD and Carlini-Wagner, each as a function from float images to float images.

None of them is a dependency; a benchmark takes those that it finds installed.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Craft = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Takes a model, pixels ``(N, C, H, W)`` in [0, 1] and labels; returns pixels."""

PACKAGES = {
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "ART": "adversarial-robustness-toolbox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all libraries are asked for.

    Attributes:
        eps: PGD's budget in [0, 1].
        step_size: Length of its steps.
        pgd_steps: Their number.
        cw_steps: Carlini-Wagner's steps.
        learning_rate: Of its Adam.
        constant: Its constant; one search step.
    """

    eps: float
    step_size: float
    pgd_steps: int
    cw_steps: int
    learning_rate: float = 0.1
    constant: float = 10.0


def installed() -> dict[str, str]:
    """Return the libraries that are there, with their versions."""
    found: dict[str, str] = {}
    for library, package in PACKAGES.items():
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(package)
    return found


def peer(library: str, attack: str, settings: Settings) -> Craft:
    """Return a library's attack, ``pgd`` or ``cw``."""
    makers = {"foolbox": _foolbox, "torchattacks": _torchattacks, "ART": _art}
    return _quietly(makers[library](attack, settings))


def _quietly(craft: Craft) -> Craft:
    """Drop the warnings and the progress that a library prints."""

    def run(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
        torch.manual_seed(0)
        silent = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stderr(silent):
            warnings.simplefilter("ignore")
            return craft(model, pixels, labels)

    return run


def _foolbox(attack: str, settings: Settings) -> Craft:
    foolbox: Any = import_module("foolbox")
    kinds = foolbox.attacks
    if attack == "pgd":
        made: Any = kinds.LinfPGD(
            steps=settings.pgd_steps, abs_stepsize=settings.step_size, random_start=True
        )
    else:
        made = kinds.L2CarliniWagnerAttack(
            binary_search_steps=1,
            steps=settings.cw_steps,
            stepsize=settings.learning_rate,
            initial_const=settings.constant,
        )
    epsilon = settings.eps if attack == "pgd" else None

    def craft(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        return made(wrapped, pixels, labels, epsilons=epsilon)[1].detach()

    return craft


def _torchattacks(attack: str, settings: Settings) -> Craft:
    torchattacks: Any = import_module("torchattacks")

    def craft(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
        if attack == "pgd":
            made: Any = torchattacks.PGD(
                model, eps=settings.eps, alpha=settings.step_size, steps=settings.pgd_steps
            )
        else:
            made = torchattacks.CW(
                model, c=settings.constant, steps=settings.cw_steps, lr=settings.learning_rate
            )
        return made(pixels, labels).detach()

    return craft


def _art(attack: str, settings: Settings) -> Craft:
    evasion: Any = import_module("art.attacks.evasion")
    classification: Any = import_module("art.estimators.classification")

    def craft(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
        np.random.seed(0)
        with torch.no_grad():
            classes = model(pixels[:1]).shape[1]
        classifier: Any = classification.PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(pixels.shape[1:]),
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        shared: dict[str, Any] = {"batch_size": len(pixels), "verbose": False}
        if attack == "pgd":
            made: Any = evasion.ProjectedGradientDescent(
                classifier,
                eps=settings.eps,
                eps_step=settings.step_size,
                max_iter=settings.pgd_steps,
                num_random_init=1,
                **shared,
            )
        else:
            made = evasion.CarliniL2Method(
                classifier,
                learning_rate=settings.learning_rate,
                binary_search_steps=1,
                max_iter=settings.cw_steps,
                initial_const=settings.constant,
                **shared,
            )
        return torch.from_numpy(made.generate(pixels.numpy(), y=labels.numpy()))

    return craft
