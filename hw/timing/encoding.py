"""A chain of modules as the native engine reads it: one row of integers a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from export.errors import InputError
from export.graph import IntArray
from hw.rtlgen import Instance, RtlDesign
from hw.timing.catalogue import build_module
from hw.timing.modules import Fifo, Module, Mvau, Pipeline, WidthConverter
from hw.timing.windows import Padding, Pool, SlidingWindow

# Words of a row: the kind, then its parameters. The kinds are numbered as in native/job.hpp.
ROW_WORDS = 12
_PIPELINE, _MVAU, _FIFO, _CONVERTER, _PADDING, _WINDOW, _POOL = range(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingChain:
    """What decides the cycles of a design.

    Attributes:
        instances: The modules, in the order in which data flows.
        in_beats: Input beats of a frame.
        out_beats: Output beats of a frame.
    """

    instances: tuple[Instance, ...]
    in_beats: int
    out_beats: int

    @classmethod
    def of(cls, design: RtlDesign) -> TimingChain:
        """Return the chain of a generated design."""
        return cls(instances=design.instances, in_beats=design.input.beats, out_beats=design.output.beats)

    @property
    def fifo_depths(self) -> dict[str, int]:
        """Depth of the FIFO before each layer, by the layer's name."""
        return {i.node: int(i.parameters["DEPTH"]) for i in self.instances if i.module == "bnn_fifo"}

    def with_fifo_depths(self, depths: Mapping[str, int]) -> TimingChain:
        """Return the same chain with other FIFOs.

        Raises:
            InputError: There is no FIFO before a layer of that name.
        """
        unknown = set(depths) - set(self.fifo_depths)
        if unknown:
            raise InputError(f"there is no FIFO before {', '.join(sorted(unknown))}")
        return replace(self, instances=tuple(_deepened(i, depths) for i in self.instances))

    def models(self) -> list[Module]:
        """Return the Python models of all modules, in the state after a reset."""
        return [build_module(instance) for instance in self.instances]

    def streams(self) -> IntArray:
        """Return beats a frame, producer and consumer of each stream, int64 ``(streams, 3)``.

        Modules are numbered as in `instances`; -1 is the source, and the sink.
        """
        producers = {instance.sink.name: index for index, instance in enumerate(self.instances)}
        rows = [
            (instance.source.beats, producers.get(instance.source.name, -1), index)
            for index, instance in enumerate(self.instances)
        ]
        rows.append((self.instances[-1].sink.beats, len(self.instances) - 1, -1))
        return np.array(rows, np.int64)

    def rows(self) -> IntArray:
        """Return the modules as the native engine reads them, int64 ``(modules, ROW_WORDS)``."""
        rows = np.zeros((len(self.instances), ROW_WORDS), np.int64)
        for row, model in zip(rows, self.models(), strict=True):
            words = _encode(model)
            row[: len(words)] = words
        return rows


def _deepened(instance: Instance, depths: Mapping[str, int]) -> Instance:
    if instance.module != "bnn_fifo" or instance.node not in depths:
        return instance
    return replace(instance, parameters={**instance.parameters, "DEPTH": depths[instance.node]})


def _encode(model: Module) -> tuple[int, ...]:
    match model:
        case Mvau():
            return _MVAU, model.latency_cycles, model.synapse_fold, model.steps // model.synapse_fold
        case Pipeline():
            return _PIPELINE, model.latency_cycles
        case Fifo():
            return _FIFO, model.depth
        case WidthConverter():
            return _CONVERTER, model.in_units, model.out_units
        case Padding():
            return _PADDING, model.row_beats, model.rows, *model.columns, *model.lines
        case SlidingWindow():
            return (
                *(_WINDOW, model.depth, model.row_beats, model.kernel_rows, model.columns, model.rows),
                *(model.skip_beats, model.step, model.row_step, model.frame_step),
            )
        case Pool():
            return _POOL, model.window_beats, model.silent_beats
        case _:
            raise ValueError(f"the native engine has no {type(model).__name__}")
