"""The modules of a design as the native engine reads them: rows of integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.folding import Folding
from hw.rtlgen import Instance, RtlDesign, plan_rtl
from hw.timing.catalogue import build_module
from hw.timing.joins import Duplicate, Sum
from hw.timing.modules import Fifo, Module, Mvau, Pipeline, WidthConverter
from hw.timing.windows import Padding, Pool, SlidingWindow

# Words of a row: the kind, then its parameters. The kinds are numbered as in native/job.hpp.
ROW_WORDS = 16
_PIPELINE, _MVAU, _FIFO, _CONVERTER, _PADDING, _WINDOW, _POOL, _DUPLICATE, _SUM = range(9)
_OUTSIDE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingChain:
    """What decides the cycles of a design: its modules and the streams between them.

    Attributes:
        instances: The modules; each comes after those whose streams it reads. The first one reads the source,
            the last one writes to the sink.
    """

    instances: tuple[Instance, ...]

    @classmethod
    def of(cls, design: RtlDesign) -> TimingChain:
        """Return the modules of a generated design."""
        return cls(instances=design.instances)

    @classmethod
    def plan(cls, graph: DataflowGraph, folding: Folding) -> TimingChain:
        """Return the modules of the hardware of a network.

        Raises:
            InputError: The folding does not fit, or hardware can't compute the network.
        """
        return cls.of(plan_rtl(graph, folding, with_contents=False))

    @property
    def in_beats(self) -> int:
        """Input beats of a frame."""
        return self.instances[0].source.beats

    @property
    def out_beats(self) -> int:
        """Output beats of a frame."""
        return self.instances[-1].sink.beats

    @property
    def fifos(self) -> dict[str, Instance]:
        """The FIFOs by their keys: the name of the layer after it, and of an Add's FIFOs which side it is."""
        return {fifo_key(i): i for i in self.instances if i.module == "bnn_fifo"}

    @property
    def fifo_depths(self) -> dict[str, int]:
        """Depths of the FIFOs by their keys."""
        return {key: int(fifo.parameters["DEPTH"]) for key, fifo in self.fifos.items()}

    def with_fifo_depths(self, depths: Mapping[str, int]) -> TimingChain:
        """Return the same chain with other FIFOs.

        Raises:
            InputError: There is no FIFO with such a key.
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
        producers = {sink.name: k for k, instance in enumerate(self.instances) for sink in instance.sinks}
        read = [(k, source) for k, instance in enumerate(self.instances) for source in instance.sources]
        rows = [(source.beats, producers.get(source.name, _OUTSIDE), k) for k, source in read]
        rows.append((self.out_beats, len(self.instances) - 1, _OUTSIDE))
        return np.array(rows, np.int64)

    def rows(self) -> IntArray:
        """Return the modules as the native engine reads them, int64 ``(modules, ROW_WORDS)``."""
        rows = np.zeros((len(self.instances), ROW_WORDS), np.int64)
        for row, model in zip(rows, self.models(), strict=True):
            words = _encode(model)
            row[: len(words)] = words
        return rows


def fifo_key(instance: Instance) -> str:
    """Return what names a FIFO in a mapping of depths."""
    return instance.fifo_key or instance.node


def _deepened(instance: Instance, depths: Mapping[str, int]) -> Instance:
    if instance.module != "bnn_fifo" or fifo_key(instance) not in depths:
        return instance
    return replace(instance, parameters={**instance.parameters, "DEPTH": depths[fifo_key(instance)]})


def _encode(model: Module) -> tuple[int, ...]:
    match model:
        case Mvau():
            return _MVAU, model.latency_cycles, model.synapse_fold, model.turns, model.first_cycle
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
                *(model.group_beats, model.hop, model.groups),
            )
        case Pool():
            return _POOL, model.window_beats, model.silent_beats
        case Duplicate():
            return (_DUPLICATE,)
        case Sum():
            return (_SUM,)
        case _:
            raise ValueError(f"the native engine has no {type(model).__name__}")
