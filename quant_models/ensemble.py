"""Several networks as one: the mean of their logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from export.errors import InputError
from quant_models.checkpoint import load_checkpoint
from quant_models.mlp import Network


class Ensemble(nn.Module):
    """The mean of several networks' logits.

    Members may differ in kind, but not in images and classes; each brings its own scale of logits, so that
    one with large logits has the most to say. The mean of integers is none: an ensemble has no integer form,
    while each member keeps its own. Drawn weights of members are told their frames one by one.

    Attributes:
        members: The networks.
        input_shape: Height, width and channels of an image.
        classes: Number of logits.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        if not members:
            raise InputError("an ensemble needs at least one network")
        first = members[0].spec
        for member in members[1:]:
            if (member.spec.input_shape, member.spec.classes) != (first.input_shape, first.classes):
                raise InputError(
                    f"{member.spec.name} takes images {member.spec.input_shape} and has "
                    f"{member.spec.classes} classes; "
                    f"{first.name} has {first.input_shape} and {first.classes}",
                    hint="an ensemble's networks need the same images and classes",
                )
        self.members = nn.ModuleList(members)
        self.input_shape = first.input_shape
        self.classes = first.classes

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 logits ``(N, classes)`` for floats ``(N, C, H, W)`` in [0, 1]."""
        return torch.stack([member(x) for member in self.members]).mean(dim=0)


def load_ensemble(paths: Sequence[Path]) -> Ensemble:
    """Load checkpoints as one ensemble in eval mode.

    Raises:
        InputError: A file is no checkpoint, or the networks don't fit together.
    """
    return Ensemble([load_checkpoint(path).build() for path in paths]).eval()
