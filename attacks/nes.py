"""Gradients estimated from scores: natural evolution strategies and simultaneous perturbation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from attacks.counter import Counter
from attacks.gridball import FloatArray, GridBall
from attacks.inputs import require, require_count
from attacks.query import BoolArray, SearchAttack, Task
from attacks.streams import SEARCH
from attacks.threat import Norm
from hw.target import ImageArray


class _Walk:
    """Where each image stands, in float grey levels, and what its steps remember."""

    def __init__(self, task: Task) -> None:
        self.rows = task.pending
        self.ball = GridBall(task.budget, task.originals[self.rows])
        self.position = self.ball.originals.copy()
        self.mean: npt.NDArray[Any] = np.zeros_like(self.position)
        self.square: npt.NDArray[Any] = np.zeros_like(self.position)
        self.best = np.full(len(self.rows), np.iinfo(np.int64).max)

    def keep(self, kept: BoolArray) -> None:
        """Go on with some of the images."""
        self.rows, self.ball, self.best = self.rows[kept], self.ball.take(kept), self.best[kept]
        self.position, self.mean, self.square = self.position[kept], self.mean[kept], self.square[kept]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation(SearchAttack, ABC):
    """Climbs along a gradient that differences of the margin at opposite probes estimate.

    A step asks at ``samples`` probes and then at the place where it led. Every image that is asked is on the
    grid and in the ball, and the attack ends with the first that succeeds.

    Attributes:
        samples: Probes of a step, an even number: they come in opposite pairs.
        sigma: Reach of a probe per pixel in [0, 1]. Integer logits are flat in the small, so it is large.
        step_size: Length of a step per pixel in [0, 1].
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)

    samples: int = 20
    sigma: float = 0.1
    step_size: float = 0.02

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        SearchAttack.__post_init__(self)
        require_count(f"the samples of {self.name}", self.samples, least=2)
        require(self.samples % 2 == 0, f"the samples of {self.name} must be even, not {self.samples}")
        for what, value in (("sigma", self.sigma), ("step size", self.step_size)):
            require(0 < value <= 1, f"the {what} of {self.name} must be above 0 and at most 1, not {value}")

    @abstractmethod
    def directions(self, random: Counter, rows: npt.NDArray[np.int64], step: int, size: int) -> FloatArray:
        """Return one direction an image, float32 ``(M, size)`` with variance 1."""

    @abstractmethod
    def move(self, walk: _Walk, gradient: FloatArray, step: int) -> FloatArray:
        """Return the change of the positions in grey levels, ``(M, P)``; steps count from 1."""

    def search(self, task: Task) -> ImageArray:
        """Return the image with the smallest margin that was seen of each original."""
        found = task.originals.copy()
        walk = _Walk(task)
        random = Counter(self.seed, SEARCH, first_index=task.first_index, count=len(found))
        left, step, drawn = task.oracle.limit - 1, 0, 0
        while len(walk.rows) and left >= 3:
            step += 1
            gradient: npt.NDArray[Any] = np.zeros_like(walk.position)
            for _ in range(min(self.samples, left - 1) // 2):
                reach = self.directions(random, walk.rows, drawn, walk.position.shape[1])
                kept, difference = self._probe(task, walk, reach, found)
                gradient = gradient[kept] + difference[:, None] * reach[kept]
                drawn, left = drawn + 1, left - 2
                if len(walk.rows) == 0:
                    break
            if len(walk.rows):
                walk.position = walk.ball.nearest(walk.position + self.move(walk, gradient, step))
                self._look(task, walk, walk.ball.on_grid(walk.position), found)
                left -= 1
        return found

    def _probe(
        self, task: Task, walk: _Walk, reach: FloatArray, found: ImageArray
    ) -> tuple[BoolArray, FloatArray]:
        """Ask at a pair of probes; return which images go on, and how far the margin falls on the way."""
        count = len(walk.rows)
        reach = reach * np.float32(255 * self.sigma)
        ends = [walk.ball.on_grid(walk.ball.nearest(walk.position + sign * reach)) for sign in (1, -1)]
        rows = np.concatenate([walk.rows, walk.rows])
        images = np.concatenate(ends).reshape(-1, *found.shape[1:])
        margin, success = task.ask(images, rows)
        for part in (slice(count), slice(count, None)):
            self._note(walk, images[part], margin[part], success[part], found)
        kept = ~(success[:count] | success[count:])
        difference = (margin[count:] - margin[:count]).astype(np.float32)[kept]
        walk.keep(kept)
        return kept, difference

    def _look(self, task: Task, walk: _Walk, pixels: ImageArray, found: ImageArray) -> None:
        """Ask where the images stand."""
        images = pixels.reshape(-1, *found.shape[1:])
        margin, success = task.ask(images, walk.rows)
        self._note(walk, images, margin, success, found)
        walk.keep(~success)

    def _note(
        self,
        walk: _Walk,
        images: ImageArray,
        margin: npt.NDArray[np.int64],
        success: BoolArray,
        found: ImageArray,
    ) -> None:
        """Remember images that are better than all before; nothing is better than one that succeeds."""
        value = np.where(success, np.iinfo(np.int64).min, margin)
        better = value < walk.best
        found[walk.rows[better]] = images[better]
        walk.best[better] = value[better]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nes(Estimation):
    """Gaussian probes; steps along the estimate's sign, or along the estimate in the L2 ball.

    References:
        Ilyas, Engstrom, Athalye, Lin, Black-box adversarial attacks with limited queries and information
        (ICML 2018), section 2.
    """

    name: ClassVar[str] = "nes"

    def directions(self, random: Counter, rows: npt.NDArray[np.int64], step: int, size: int) -> FloatArray:
        """Draw from a normal distribution."""
        return random.normal(rows, step, size)

    def move(self, walk: _Walk, gradient: FloatArray, step: int) -> FloatArray:
        """Step along the sign, or as far along the estimate."""
        length = np.float32(255 * self.step_size)
        if self.norm is Norm.LINF:
            return np.sign(gradient) * length
        size = np.sqrt(np.vecdot(gradient, gradient))[:, None] + np.float32(1e-12)
        return gradient * (length * np.float32(gradient.shape[1] ** 0.5) / size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spsa(Estimation):
    """Probes of random signs; steps of Adam.

    References:
        Spall, Multivariate stochastic approximation using a simultaneous perturbation gradient approximation
        (IEEE TAC 1992); as an attack: Uesato, O'Donoghue, van den Oord, Kohli, Adversarial risk and the
        dangers of evaluating against weak attacks (ICML 2018), section 3.
    """

    name: ClassVar[str] = "spsa"

    def directions(self, random: Counter, rows: npt.NDArray[np.int64], step: int, size: int) -> FloatArray:
        """Draw signs."""
        return random.bits(rows, step, size).astype(np.float32) * 2 - 1

    def move(self, walk: _Walk, gradient: FloatArray, step: int) -> FloatArray:
        """Step as Adam does, with its usual memories of 0.9 and 0.999."""
        walk.mean = np.float32(0.9) * walk.mean + np.float32(0.1) * gradient
        walk.square = np.float32(0.999) * walk.square + np.float32(0.001) * gradient**2
        mean = walk.mean / np.float32(1 - 0.9**step)
        size = np.sqrt(walk.square / np.float32(1 - 0.999**step)) + np.float32(1e-8)
        return (mean / size * (255 * self.step_size)).astype(np.float32)
