"""What becomes of images when one element of a stream changes: only what comes behind it is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from attacks.faults.codes import activation_codes
from attacks.faults.score import Outcomes, ScoreMap
from attacks.faults.segments import cut_graph, pixels_of
from export.graph import DataflowGraph, IntArray
from hw.emulator import EmulatorTarget

_BATCH_BYTES = 1 << 22


class StreamProbe:
    """Scores images whose value differs from the clean one in one element of a stream.

    Args:
        graph: The network; no weights of it are drawn.
        name: Node that writes the stream.
        values: The stream without faults, int64 ``(N, ...)``.
        clean: Outcomes of the images without faults.
        labels: int64 ``(N,)``.
        threads: Threads of the emulator; None for one a core.
        cache_dir: Where compiled code is kept.

    Raises:
        InputError: The network can't be cut behind the node.
    """

    def __init__(
        self,
        graph: DataflowGraph,
        name: str,
        values: IntArray,
        clean: Outcomes,
        labels: IntArray,
        *,
        threads: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        cut = cut_graph(graph, name)
        self._dtype, self._labels, self._clean = cut.dtype, labels, clean
        self.values = values.reshape(len(values), -1)
        self._tail = cut.tail
        self._target: EmulatorTarget | None = None
        if cut.tail is not None:
            self._target = EmulatorTarget(cut.tail, threads=threads, cache_dir=cache_dir)
            self._pixels = cut.images(self.values).reshape(self.values.shape)

    @property
    def elements(self) -> int:
        """Elements of the stream."""
        return self.values.shape[1]

    @property
    def tail_macs(self) -> int:
        """Multiply-accumulates of the layers behind the stream, for one image; at least one."""
        return 1 if self._tail is None else max(1, self._tail.macs)

    def changes(self, values: IntArray) -> tuple[ScoreMap, IntArray, IntArray]:
        """Return what changes where single elements have other values, ``(N, elements)``.

        Each element stands for a fault of its own: in image i that fault gives element e the value
        ``values[i, e]`` and leaves the others alone.

        Returns:
            By changed value: the differences of right answers and margin; its image; its element.
        """
        image, element = np.nonzero(values != self.values)
        correct, margin = np.zeros(len(image), np.int64), np.zeros(len(image), np.int64)
        size = max(1, _BATCH_BYTES // self.elements)
        for start in range(0, len(image), size):
            part = slice(start, start + size)
            found = self._outcomes(image[part], element[part], values[image[part], element[part]])
            correct[part] = found.correct.astype(np.int64) - self._clean.correct[image[part]]
            margin[part] = found.margin - self._clean.margin[image[part]]
        return ScoreMap(correct=correct, margin=margin), image, element

    def scores(self, values: IntArray) -> ScoreMap:
        """Return the score of the faults, one an element, that give elements the values ``(N, elements)``."""
        change, _, element = self.changes(values)
        clean = self._clean.score
        # Sums of integers below 2**53 are exact.
        totals = [
            np.bincount(element, weights=delta, minlength=self.elements).astype(np.int64)
            for delta in (change.correct, change.margin)
        ]
        return ScoreMap(correct=clean.correct + totals[0], margin=clean.margin + totals[1])

    def _outcomes(self, image: IntArray, element: IntArray, value: IntArray) -> Outcomes:
        rows = np.arange(len(image))
        if self._target is None or self._tail is None:
            logits = self.values[image]
            logits[rows, element] = value
        else:
            pixels = self._pixels[image]
            pixels[rows, element] = pixels_of(activation_codes(value, self._dtype), self._dtype)
            logits = self._target.infer(pixels.reshape(len(pixels), *self._tail.input_shape)).logits
        return Outcomes.of(logits, self._labels[image])
