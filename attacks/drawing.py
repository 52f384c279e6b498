"""Layers with drawn weights, told which frames they see or to draw once for a whole batch.

Such a layer has a true attribute ``draws_weights``. It draws what `export.draws` says for the frames from its
attribute ``first_frame`` on, under its attribute ``seed``; while ``one_draw`` is true it takes one draw of
torch's generator for the batch instead.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def drawing_parts(model: nn.Module) -> list[Any]:
    """Return the layers with drawn weights."""
    return [part for part in model.modules() if getattr(part, "draws_weights", False)]


def set_frames(model: nn.Module, *, seed: int, first_frame: int) -> None:
    """Say which frames the next batch holds."""
    for part in drawing_parts(model):
        part.seed, part.first_frame = seed, first_frame


@contextmanager
def one_draw(model: nn.Module, *, seed: int) -> Generator[None]:
    """Let every call of the model draw its weights once for all images, from a stream of its own.

    An attacker knows the means and not the draws to come. Without drawn weights this changes nothing.

    Args:
        model: The model; its layers get their own modes back.
        seed: Of the draws, any integer that is not negative.
    """
    parts = drawing_parts(model)
    if not parts:
        yield
        return
    modes = [part.one_draw for part in parts]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in parts:
            part.one_draw = True
        try:
            yield
        finally:
            for part, mode in zip(parts, modes, strict=True):
                part.one_draw = mode
