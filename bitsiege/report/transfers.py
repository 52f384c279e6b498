"""The transfer matrix: what every model keeps of its accuracy on images that were crafted on each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitsiege.report.evaluation import CellResult, Share, TransferMatrix, TransferRow
from bitsiege.report.worst import share

_Key = tuple[str, str, float | None]


def transfer_matrices(
    cells: Sequence[CellResult], crafted: Sequence[Mapping[str, Any]], models: Sequence[str]
) -> tuple[TransferMatrix, ...]:
    """Return a matrix for each attack and budget whose images any other model has judged.

    Args:
        cells: The results.
        crafted: Entries of ``campaign.json`` for images that no model judges where they are crafted.
        models: Names of the models, in their order.
    """
    matrices: list[TransferMatrix] = []
    for key in dict.fromkeys(_key(cell) for cell in cells if cell.source):
        own = [cell for cell in cells if _key(cell) == key]
        found = {cell.source or cell.model for cell in own}
        others = [name for name in dict.fromkeys(cell.source for cell in own) if name and name not in models]
        rows = [
            TransferRow(
                source=name,
                shares=tuple(_share(own, model, "" if name == model else name) for model in models),
                itself=None if name in models else _itself(crafted, name, key),
            )
            for name in (*models, *others)
            if name in found
        ]
        title, norm, epsilon = key
        matrices.append(
            TransferMatrix(
                title=title,
                norm=norm,
                epsilon=epsilon,
                seeds=tuple(sorted({cell.seed for cell in own})),
                models=tuple(models),
                rows=tuple(rows),
            )
        )
    return tuple(matrices)


def _key(cell: CellResult) -> _Key:
    return cell.title, cell.norm, cell.epsilon


def _share(cells: Sequence[CellResult], model: str, source: str) -> Share | None:
    """The mean over seeds of what the model's first target gets right; None where a seed has nothing yet."""
    own = [cell for cell in cells if (cell.model, cell.source) == (model, source)]
    if not own or not all(cell.attacked for cell in own):
        return None
    return _mean([(cell.attacked[0].correct, cell.attacked[0].images) for cell in own])


def _itself(crafted: Sequence[Mapping[str, Any]], source: str, key: _Key) -> Share | None:
    """What the attack left of a source that is no model; None for an attack that aims at a class."""
    title, _, epsilon = key
    own = [
        entry
        for entry in crafted
        if (entry["model"], entry["title"], entry["epsilon"]) == (source, title, epsilon)
    ]
    targeted = any(entry["parameters"].get("goal", "untargeted") != "untargeted" for entry in own)
    if not own or targeted or not all(entry["images_done"] for entry in own):
        return None
    return _mean([(entry["images_done"] - entry["succeeded"], entry["images_done"]) for entry in own])


def _mean(parts: Sequence[tuple[int, int]]) -> Share:
    """The mean over seeds; its interval is about one set of images, however many seeds there are."""
    images = max(count for _, count in parts)
    mean = sum(correct / count for correct, count in parts) / len(parts)
    return share(round(mean * images), images).model_copy(update={"accuracy": mean})
