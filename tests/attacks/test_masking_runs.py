from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.masking_runs import Effort, examine, zero_gradient_share
from hw.reference import ReferenceTarget
from hw.target import Inference, TargetKind

EFFORT = Effort(steps=5, restarts=2, max_queries=60, eps_factors=(0.5, 1.0), step_counts=(1, 5))


class FakeTarget:
    name, kind = "fake", TargetKind.SIMULATION

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def infer(self, images: np.ndarray, first_frame: int = 0) -> Inference:
        with torch.no_grad():
            pixels = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 255
            return Inference(logits=(self._model(pixels) * 2**20).round().long().numpy())


class Misleading(nn.Module):
    """The network with a gradient that points nowhere in particular."""

    def __init__(self, net: nn.Module, images: np.ndarray) -> None:
        super().__init__()
        self._net = net
        generator = torch.Generator().manual_seed(0)
        self._nowhere = torch.randn(*images.shape[1:], generator=generator).permute(2, 0, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        faint = pixels * 1e-9
        logits = self._net(pixels.detach() + faint - faint.detach())
        noise = (pixels * self._nowhere).flatten(1).sum(1)[:, None] * torch.arange(logits.shape[1])
        return logits + noise - noise.detach()


def test_a_network_with_honest_gradients(net, graph, images, labels):
    verdict = examine(net, ReferenceTarget(graph), images, labels, eps=0.1, effort=EFFORT)
    asked = {check.name for check in verdict.checks if check.masked is not None}
    assert {"zero gradients", "unbounded", "iterations", "noise", "black box", "more eps"} <= asked
    assert verdict.accuracy["clean"] == 1.0
    assert verdict.accuracy["unbounded"] <= verdict.accuracy["pgd"] < 1.0


def test_a_network_that_misleads_is_found_out(net, graph, images, labels):
    model = Misleading(net, images)
    verdict = examine(model, ReferenceTarget(graph), images, labels, eps=0.1, effort=EFFORT)
    assert verdict.masked
    assert "black box" in [check.name for check in verdict.checks if check.masked]


def test_same_seed_same_verdict(net, graph, images, labels):
    verdicts = [
        examine(net, ReferenceTarget(graph), images, labels, eps=0.1, effort=EFFORT).to_json()
        for _ in range(2)
    ]
    assert verdicts[0] == verdicts[1]


def test_a_model_without_signs_is_not_asked_about_their_gradient(images, labels):
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 5))
    target = FakeTarget(model)
    verdict = examine(model, target, images, labels, eps=0.1, effort=EFFORT)
    assert {check.name: check.masked for check in verdict.checks}["estimator"] is None


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 0.0), (1e6, 1.0)])
def test_gradients_that_underflow_are_counted(net, images, labels, scale, expected):
    class Scaled(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return net(pixels) * scale

    assert zero_gradient_share(Scaled(), images, labels, seed=0) == pytest.approx(expected, abs=0.35)


def test_progress_names_what_runs(net, graph, images, labels):
    seen: list[tuple[str, int, int]] = []
    examine(
        net,
        ReferenceTarget(graph),
        images[:4],
        labels[:4],
        eps=0.1,
        effort=EFFORT,
        progress=lambda *now: seen.append(now),
    )
    assert seen[0][0] == "fgsm"
    assert seen[-1][1] == seen[-1][2]
