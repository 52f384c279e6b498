"""A network's accuracy on images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from quant_models.data import ImageSet
from quant_models.mlp import Network
from quant_models.stochastic import set_frames

_EVALUATION_BATCH = 1000


@torch.no_grad()
def accuracy(model: Network, images: ImageSet, *, seed: int = 0) -> float:
    """Return the part of images whose largest logit (the first among equals) is the label's.

    Args:
        model: The network, in eval mode.
        images: Images of its input shape.
        seed: Of drawn weights, where the network has such: image i is frame i.
    """
    pixels, labels = as_tensors(images)
    right = 0
    for start in range(0, len(labels), _EVALUATION_BATCH):
        set_frames(model, seed=seed, first_frame=start)
        logits = model(pixels[start : start + _EVALUATION_BATCH].float() / 255.0)
        # NumPy's argmax promises the first of equal values.
        predicted = np.argmax(logits.numpy(), axis=1)
        right += int(np.count_nonzero(predicted == labels[start : start + _EVALUATION_BATCH].numpy()))
    return right / len(labels)


def as_tensors(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Return uint8 ``(N, C, H, W)`` and int64 ``(N,)``."""
    pixels = np.ascontiguousarray(np.moveaxis(images.images, 3, 1))
    return torch.tensor(pixels), torch.tensor(images.labels)
