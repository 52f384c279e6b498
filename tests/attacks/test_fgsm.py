from __future__ import annotations

import numpy as np
import torch
from torch import nn

from attacks.fgsm import Fgsm


def test_linear_model_moves_each_pixel_by_the_whole_budget():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[1].weight[:] = torch.tensor([[1.0, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    images = np.array([100, 100, 100, 5], np.uint8).reshape(1, 2, 2, 1)
    result = Fgsm(eps=10 / 255).craft(net, images, np.array([0]))
    assert result.adversarial.ravel().tolist() == [90, 110, 100, 0]


def test_result_is_the_step_even_if_it_is_worse():
    class Valley(nn.Module):
        """Class 0 wins everywhere but at pixel value 100."""

        def forward(self, x):
            distance = (x.flatten(1)[:, :1] * 255 - 99.5).abs()
            return torch.cat([distance, torch.full_like(distance, 1.0)], dim=1)

    image = np.full((1, 1, 1, 1), 100, np.uint8)
    result = Fgsm(eps=20 / 255).craft(Valley(), image, np.array([0]))
    assert result.adversarial.item() == 80
    assert not result.success.item()
