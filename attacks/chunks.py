"""Asking the model about some images of a batch, in calls of one height.

A matrix product of another height may round differently. An attack that leaves images behind as it goes would
then give an image another result for other neighbours; here every call is filled up to the same height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.evaluation import Evaluation, Problem, join
from attacks.landscape import Landscape

Ascent = Callable[[Problem, Tensor], Tensor]
"""Takes the problem of the images asked about, and their logits ``(M, K)``; returns a gradient there."""

_HEIGHT = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asker:
    """One batch whose images need not all be asked about.

    With drawn weights a call is one draw for all of its images, so there every call is of the whole batch,
    and those not asked about are filled up with a copy of one that is.

    Attributes:
        landscape: The batch.
        draws: Draws that `confirm` takes the mean of.
        height: Images in one call.
    """

    landscape: Landscape
    draws: int = 1
    height: int = _HEIGHT

    def differentiate(self, rows: Tensor, position: Tensor, ascent: Ascent) -> tuple[Evaluation, Tensor]:
        """Return the evaluation and the gradient at ``position`` ``(M, C, H, W)`` of the images ``rows``."""
        seen: list[Evaluation] = []
        gradients: list[Tensor] = []
        for part, shown, asked in self._calls(rows, position):
            problem = part.problem
            found, gradient = part.differentiate(
                shown, lambda logits, problem=problem: ascent(problem, logits)
            )
            seen.append(found[asked])
            gradients.append(gradient[asked])
        return (join(seen), torch.cat(gradients)) if len(seen) > 1 else (seen[0], gradients[0])

    def confirm(self, rows: Tensor, position: Tensor) -> Evaluation:
        """Return the evaluation at ``position`` ``(M, C, H, W)`` of the images ``rows``."""
        parts = [part.confirm(shown, self.draws)[asked] for part, shown, asked in self._calls(rows, position)]
        return join(parts) if len(parts) > 1 else parts[0]

    def _calls(self, rows: Tensor, position: Tensor) -> Iterator[tuple[Landscape, Tensor, slice | Tensor]]:
        """Yield each call's landscape and images, and which of those were asked for."""
        if self.landscape.is_drawn:
            shown = position[:1].repeat(len(self.landscape.problem.truth), 1, 1, 1)
            shown[rows] = position
            yield self.landscape, shown, rows
            return
        for begin in range(0, len(rows), self.height):
            some, shown = rows[begin : begin + self.height], position[begin : begin + self.height]
            count, missing = len(some), self.height - len(some)
            if missing:
                some = torch.cat([some, some[-1:].expand(missing)])
                shown = torch.cat([shown, shown[-1:].expand(missing, *shown.shape[1:])])
            yield self.landscape.part(some), shown, slice(count)
