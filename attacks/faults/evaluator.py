"""A network under many faults, each evaluated on all images by the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attacks.faults.apply import apply_faults
from attacks.faults.codes import wrap
from attacks.faults.criticality import DenseLayer
from attacks.faults.model import Effect, Fault, MemoryFault, WeightFault, check_range
from attacks.faults.probe import StreamProbe
from attacks.faults.score import Outcomes, Score
from attacks.faults.targets import FaultyEmulator, split_faults
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, IntArray, Mvau
from hw.emulator import EmulatorTarget
from hw.target import ImageArray, check_images


class FaultEvaluator:
    """Scores a network with faults on a fixed set of images.

    Faults in memories change bytes of the emulator in place; it is not made anew.

    Args:
        graph: The network without faults.
        images: uint8 ``(N, H, W, C)``, at least one.
        labels: int64 ``(N,)``.
        threads: Threads that share a batch; None for one a core.
        seed: Of drawn weights.
        first_frame: Frame index of the first image; the others follow.
        cache_dir: Where compiled code is kept.

    Raises:
        InputError: No images, or they do not fit the network.
    """

    def __init__(
        self,
        graph: DataflowGraph,
        images: ImageArray,
        labels: IntArray,
        *,
        threads: int | None = None,
        seed: int = 0,
        first_frame: int = 0,
        cache_dir: Path | None = None,
    ) -> None:
        self.graph = graph
        self._first_frame = first_frame
        self.images = check_images(images, graph)
        self.labels = labels
        if not len(self.images) or labels.shape != (len(self.images),):
            raise InputError(f"{len(self.images)} images and labels {labels.shape}: one label an image")
        self._threads, self._seed, self._cache_dir = threads, seed, cache_dir
        self._target = EmulatorTarget(graph, threads=threads, seed=seed, cache_dir=cache_dir)
        self._mvaus = {node.name: node for node in graph.mvaus}
        self._streams: dict[str, IntArray] = {}
        self.clean = Outcomes.of(self._target.infer(self.images, self._first_frame).logits, labels)
        self.pairs = 0

    def score(self, faults: Sequence[Fault]) -> Score:
        """Return the score with faults that strike together.

        Raises:
            InputError: A fault's place does not exist, or can't be computed.
        """
        memory, streams = split_faults(faults)
        self.pairs += len(self.images)
        if streams:
            target = FaultyEmulator(
                self.graph, faults, threads=self._threads, seed=self._seed, cache_dir=self._cache_dir
            )
            return Outcomes.of(target.infer(self.images, self._first_frame).logits, self.labels).score
        flips = self._flips(memory)
        if flips is not None:
            if self._target.graph is not self.graph:
                self._target.load(self.graph)
            with self._target.flipped(flips):
                logits = self._target.infer(self.images, self._first_frame).logits
            return Outcomes.of(logits, self.labels).score
        self._target.load(apply_faults(self.graph, memory, wide_logits=True))
        logits = wrap(
            self._target.infer(self.images, self._first_frame).logits, self.graph.nodes[-1].out_type
        )
        return Outcomes.of(logits, self.labels).score

    def _flips(self, faults: Sequence[MemoryFault]) -> list[tuple[str, int, int]] | None:
        """Return the weights to turn, where faults are nothing else and the emulator can do so in place."""
        found: list[tuple[str, int, int]] = []
        for fault in faults:
            if not isinstance(fault, WeightFault) or fault.effect is not Effect.FLIP or fault.bit:
                return None
            if fault.node not in self._mvaus or not self._target.can_flip(fault.node):
                return None
            node = self._mvaus[fault.node]
            check_range("neuron", fault.row, node.mh, node=node.name)
            check_range("input", fault.column, node.mw, node=node.name)
            found.append((fault.node, fault.row, fault.column))
        return found

    def stream(self, name: str) -> IntArray:
        """Return a node's output, or the images, without faults: int64 ``(N, ...)``."""
        if not self._streams:
            clean = EmulatorTarget(
                self.graph, threads=self._threads, seed=self._seed, cache_dir=self._cache_dir
            )
            self._streams = {
                INPUT_TENSOR: self.images.astype(np.int64),
                **clean.trace(self.images, self._first_frame),
            }
        return self._streams[name]

    def probe(self, name: str) -> StreamProbe:
        """Return what scores changes of single elements of a node's output.

        Raises:
            InputError: The network draws weights, or can't be cut there.
        """
        if self.graph.is_stochastic:
            raise InputError("a network that draws its weights has no one clean stream to start from")
        return StreamProbe(
            self.graph,
            name,
            self.stream(name),
            self.clean,
            self.labels,
            threads=self._threads,
            cache_dir=self._cache_dir,
        )

    def layer(self, node: Mvau) -> DenseLayer:
        """Return a dense layer, ready for its maps.

        Raises:
            InputError: As `probe`; or the layer works on more than one vector.
        """
        if not is_dense(self.graph, node):
            raise InputError(f"{node.name} works on several vectors of a frame", node=node.name)
        return DenseLayer.of(node, self.stream(node.input), self.probe(node.name), self.clean.score)


def is_dense(graph: DataflowGraph, node: Mvau) -> bool:
    """Whether a layer works on one vector a frame, as a whole."""
    return len(graph.shapes[node.input]) == 1 and node.groups == 1 and node.draw is None
