"""The images of a campaign."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitsiege.campaign.config import CampaignConfig
from export.errors import InputError
from export.graph import IntArray
from hw.target import ImageArray
from quant_models.data import load_dataset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """The images of a campaign.

    Attributes:
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``.
        first: Index of the first one in the data set.
        held_out: Others of the same shape, from the training set, for attackers who train on some.
    """

    images: ImageArray
    labels: IntArray
    first: int
    held_out: ImageArray

    def part(self, first: int, count: int) -> tuple[ImageArray, IntArray]:
        """Return ``count`` images from index ``first`` of the data set on."""
        begin = first - self.first
        return self.images[begin : begin + count], self.labels[begin : begin + count]

    def check_fits(self, what: str, shape: tuple[int, int, int], classes: int) -> None:
        """Raise `InputError` unless a network with such inputs and outputs takes the images."""
        found = self.images.shape[1:]
        if shape != found:
            raise InputError(
                f"{what} takes images of shape {shape}, the data set has {found}",
                hint="one campaign has one data set; make another one for other images",
            )
        if int(self.labels.max()) >= classes:
            raise InputError(f"{what} has {classes} classes, but an image has label {int(self.labels.max())}")


def load_images(config: CampaignConfig, data_dir: Path | None) -> Images:
    """Load what a campaign attacks.

    Raises:
        InputError: The data set has fewer images.
    """
    dataset = load_dataset(config.data.name, data_dir=data_dir)
    test, train = dataset.test, dataset.train
    first, count = config.data.first, config.data.images
    if first >= len(test):
        raise InputError(f"{config.data.name} has {len(test)} test images, data.first is {first}")
    end = len(test) if count is None else min(first + count, len(test))
    needed = config.held_out
    if needed > len(train):
        raise InputError(f"{config.data.name} has {len(train)} training images, {needed} are to be held out")
    return Images(
        images=np.ascontiguousarray(test.images[first:end]),
        labels=test.labels[first:end],
        first=first,
        held_out=np.ascontiguousarray(train.images[:needed]),
    )
