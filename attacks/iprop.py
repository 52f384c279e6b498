"""Target propagation: wanted signs go from the last hidden layer back to the pixels, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attacks.counter import Counter
from attacks.evaluation import Evaluation
from attacks.gradient import Form, GradientAttack
from attacks.inputs import require, require_count
from attacks.landscape import Landscape
from attacks.streams import SEARCH
from attacks.threat import Budget
from attacks.verify.network import SignNetwork, sign_network

# How much more a neuron counts that has not got its wanted sign than one that has.
_LACKS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Iprop(GradientAttack):
    """Wants some neurons of the last hidden layer to flip, and looks layer by layer for what flips them.

    A target for a layer are the signs that it should have. The one before it gets as its target its present
    signs with at most ``step_size`` of them flipped, chosen greedily: a flip counts for every neuron that it
    brings nearer to its wanted sign, the more the less that neuron lacks, and against those that it might
    lose. The last step chooses pixels, each to an end of its range in the ball. The image that comes out is
    kept if its margin is at least as good; else the number of flips is halved, and from 1 it starts over.

    The publication solves each layer by a mixed integer program. Greedy choices with exact sums take its
    place here, for a whole batch at once. No gradient is used, but the network must be known: the model is
    a `attacks.surrogate.Surrogate`, or any that has the attribute ``graph``.

    Attributes:
        steps: Times that targets go back through the network.
        step_size: Most neurons of a layer that are flipped at first.

    References:
        Khalil, Gupta, Dilkina, Combinatorial attacks on binarized neural networks (ICLR 2019).
    """

    name: ClassVar[str] = "iprop"

    steps: int = 100
    step_size: int = 128

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        GradientAttack.__post_init__(self)
        require_count("the number of steps", self.steps, least=1)
        require_count("the step size", self.step_size, least=1)
        require(self.form is Form.GRID, "iprop works on whole levels", hint="leave form out")

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Propagate targets; return the best images seen."""
        graph: Any = getattr(landscape.model, "graph", None)
        require(
            graph is not None,
            "iprop needs the network as integers, which this model does not tell",
            hint="attack the twin: gradients = twin",
        )
        walk = _Walk(sign_network(graph), landscape, clean, budget, self)
        return walk.run(clean)


class _Walk:
    """One batch. All sums are whole numbers that float32 holds exactly, so neighbours change nothing."""

    def __init__(
        self, network: SignNetwork, landscape: Landscape, clean: Evaluation, budget: Budget, attack: Iprop
    ) -> None:
        self._landscape, self._attack = landscape, attack
        count, channels, height, width = clean.position.shape
        self._shape = (count, height, width, channels)
        original = _rows(clean.position)
        radius = budget.limit((height, width, channels))
        levels = network.levels
        self._steps = torch.from_numpy(levels.steps).float()
        self._base, self._stride = levels.base, levels.stride
        self._original = original
        self._ends = (original - radius).clamp_min(0), (original + radius).clamp_max(255)
        self._weights = [torch.from_numpy(layer.weights).float() for layer in network.layers]
        self._thresholds = [torch.from_numpy(layer.thresholds).float() for layer in network.layers]
        self._last = torch.from_numpy(network.weights).float()
        self._random = Counter(attack.seed, SEARCH, first_index=landscape.first_index, count=count)

    def run(self, clean: Evaluation) -> Evaluation:
        """Go back and forth until all succeed or the steps are used up."""
        pixels, best, best_margin = self._original, clean, self._margin(clean)
        flips = torch.full((len(pixels),), self._attack.step_size)
        for step in range(self._attack.steps):
            if bool(best.success.all()):
                break
            here = self._landscape.look(self._images(pixels))
            tried = self._back(pixels, here, flips, step)
            seen = self._landscape.look(self._images(tried))
            margin = self._margin(seen)
            gains = seen.success | (margin >= self._margin(here))
            better = ~best.success & (seen.success | (margin > best_margin))
            best, best_margin = seen.where(better, best), torch.where(better, margin, best_margin)
            pixels = torch.where(gains[:, None], tried, pixels)
            halved = torch.where(flips > 1, flips // 2, self._attack.step_size)
            flips = torch.where(margin > self._margin(here), flips, halved)
        return best

    def _margin(self, seen: Evaluation) -> Tensor:
        pivot = self._landscape.problem.classes.pivot
        others = seen.logits.scatter(1, pivot, -torch.inf).amax(1)
        lead = others - seen.logits.gather(1, pivot)[:, 0]
        return lead if self._landscape.problem.aim is None else -lead

    def _back(self, pixels: Tensor, here: Evaluation, flips: Tensor, step: int) -> Tensor:
        """Return pixels ``(N, P)`` after one way back through the layers."""
        inputs, signs, sums = self._forward(pixels)
        pivot = self._landscape.problem.classes.pivot
        other = here.logits.scatter(1, pivot, -torch.inf).argmax(1)
        up, down = (other, pivot[:, 0]) if self._landscape.problem.aim is None else (pivot[:, 0], other)
        rise = self._last[up] - self._last[down]
        ease = 1 + (sums[-1] - self._thresholds[-1]).abs()
        gain = -rise * signs[-1] / ease
        target = _flipped(signs[-1], self._noisy(gain, step, 0), flips)
        for layer in range(len(signs) - 1, 0, -1):
            target = self._signs_before(layer, target, signs, sums, flips, step)
        return self._pixels_before(pixels, inputs, target, sums[0], flips, step)

    def _forward(self, pixels: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return what the first layer sees, and each layer's signs and sums."""
        inputs = values = self._seen(pixels)
        signs: list[Tensor] = []
        sums: list[Tensor] = []
        for weights, thresholds in zip(self._weights, self._thresholds, strict=True):
            sums.append(values @ weights.T)
            values = torch.where(sums[-1] >= thresholds, 1.0, -1.0)
            signs.append(values)
        return inputs, signs, sums

    def _signs_before(
        self,
        layer: int,
        target: Tensor,
        signs: Sequence[Tensor],
        sums: Sequence[Tensor],
        flips: Tensor,
        step: int,
    ) -> Tensor:
        """Return wanted signs of the layer before ``layer``, at most ``flips`` from those that it has."""
        ease = 1 + (sums[layer - 1] - self._thresholds[layer - 1]).abs()
        pull = _pull(sums[layer] - self._thresholds[layer], target)
        # A flip moves each sum by twice the weight; neurons that flip easily are worth more.
        gain = -2 * signs[layer - 1] * (pull @ self._weights[layer]) / ease.sqrt()
        return _flipped(signs[layer - 1], self._noisy(gain, step, layer), flips)

    def _pixels_before(
        self, pixels: Tensor, inputs: Tensor, target: Tensor, total: Tensor, flips: Tensor, step: int
    ) -> Tensor:
        """Return pixels whose first layer comes near to its target."""
        slope = _pull(total - self._thresholds[0], target) @ self._weights[0]
        down, up = (slope * (self._seen(end) - inputs) for end in self._ends)
        gain = self._noisy(torch.maximum(down, up), step, len(self._weights))
        end = torch.where(up >= down, self._ends[1], self._ends[0])
        return torch.where(_largest(gain, flips), end, pixels)

    def _noisy(self, gain: Tensor, step: int, purpose: int) -> Tensor:
        """Return gains made up to a half larger at random, so that no choice is made twice in vain."""
        rows = np.arange(len(gain))
        values = self._random.bytes(rows, 1000 * step + purpose, gain.shape[1])
        return gain * (1 + torch.from_numpy(values.copy()).float() / 512)

    def _seen(self, pixels: Tensor) -> Tensor:
        """Return what grey levels ``(N, P)`` are to the first layer."""
        if self._steps.shape[1] == 255:
            return self._base + self._stride * pixels
        reached = torch.zeros_like(pixels)
        for level in self._steps.T:
            reached += pixels >= level
        return self._base + self._stride * reached

    def _images(self, pixels: Tensor) -> Tensor:
        return pixels.view(self._shape).permute(0, 3, 1, 2).contiguous()


def _rows(position: Tensor) -> Tensor:
    """Return ``(N, C, H, W)`` as pixels in the order row, column, channel, ``(N, P)``."""
    return position.permute(0, 2, 3, 1).reshape(len(position), -1)


def _pull(distance: Tensor, target: Tensor) -> Tensor:
    """Return how much each neuron wants its sum to rise, by its distance from the threshold.

    One that has its sign wants to keep it: least where nothing is near to change that.
    """
    lacks = distance * target < 0
    return target * torch.where(lacks, _LACKS, 1.0) / (1 + distance.abs())


def _flipped(signs: Tensor, gain: Tensor, count: Tensor) -> Tensor:
    return torch.where(_largest(gain, count), -signs, signs)


def _largest(gain: Tensor, count: Tensor) -> Tensor:
    """Return the ``count`` ``(N,)`` largest gains above 0 of each row, the first among equals."""
    order = gain.argsort(dim=1, descending=True, stable=True)
    chosen = torch.zeros_like(gain, dtype=torch.bool)
    chosen.scatter_(1, order, torch.arange(gain.shape[1]) < count[:, None])
    return chosen & (gain > 0)
