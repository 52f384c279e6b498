"""Random small distortions of grey or colour images, drawn anew each time a training image is shown."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def random_affine(images: Tensor, *, shift_pixels: float, rotate_degrees: float, zoom: float) -> Tensor:
    """Shift, rotate, zoom and shear each image by its own random amount, uniform within the limits.

    Draws from torch's global random generator. Pixels that come from outside the image are 0.

    Args:
        images: float ``(N, C, H, W)``.
        shift_pixels: Largest shift along each axis [pixels].
        rotate_degrees: Largest rotation [degrees].
        zoom: Largest relative change of size, and largest shear.

    Returns:
        The distorted images, bilinearly interpolated, of the same shape.
    """
    if shift_pixels == 0 and rotate_degrees == 0 and zoom == 0:
        return images
    count, height, width = len(images), images.shape[2], images.shape[3]
    angle, size, shear, across, down = torch.rand(5, count) * 2 - 1
    angle = angle * math.radians(rotate_degrees)
    size = 1 + size * zoom
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = (
        torch.stack([cos, shear * zoom - sin, across * (2 * shift_pixels / width)], dim=1),
        torch.stack([sin, cos, down * (2 * shift_pixels / height)], dim=1),
    )
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def mirror_half(images: Tensor) -> Tensor:
    """Mirror each image left to right with probability 1/2, drawn from torch's global random generator.

    Args:
        images: float ``(N, C, H, W)``.
    """
    chosen = torch.rand(len(images)) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)
