from __future__ import annotations

import pytest
import torch

from quant_models.augment import random_affine


def test_no_distortion_is_the_image_itself() -> None:
    images = torch.rand(4, 1, 8, 8)
    assert random_affine(images, shift_pixels=0, rotate_degrees=0, zoom=0) is images


@pytest.mark.parametrize("limits", [(2.0, 0.0, 0.0), (0.0, 20.0, 0.0), (0.0, 0.0, 0.3)])
def test_images_differ_and_stay_in_range(limits: tuple[float, float, float]) -> None:
    shift, rotate, zoom = limits
    image = torch.rand(1, 3, 9, 9).expand(6, -1, -1, -1)
    moved = random_affine(image, shift_pixels=shift, rotate_degrees=rotate, zoom=zoom)
    assert moved.shape == image.shape
    assert len({tuple(row.flatten().tolist()) for row in moved}) == 6
    assert bool((moved >= 0).all())
    assert bool((moved <= 1).all())


def test_shift_is_bounded_in_pixels_on_both_axes() -> None:
    image = torch.zeros(200, 1, 12, 20)
    image[:, :, 6, 10] = 1.0
    moved = random_affine(image, shift_pixels=2.0, rotate_degrees=0, zoom=0)
    rows = moved.sum(dim=(1, 3)) @ torch.arange(12.0)
    columns = moved.sum(dim=(1, 2)) @ torch.arange(20.0)
    for centres, middle in ((rows, 6.0), (columns, 10.0)):
        assert float((centres - middle).abs().max()) <= 2.0 + 1e-4
        assert float((centres - middle).abs().max()) > 1.5


def test_it_follows_the_global_seed() -> None:
    images = torch.rand(3, 1, 8, 8)
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        runs.append(random_affine(images, shift_pixels=1, rotate_degrees=9, zoom=0.1))
    assert torch.equal(*runs)
