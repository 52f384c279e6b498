"""Where the bits lie in the memories of the generated hardware: addresses, bursts, faulty contents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from attacks.faults.codes import threshold_bits, thresholds_of, weight_bits
from attacks.faults.model import Effect, MemoryFault, ThresholdFault, WeightFault, check_range
from export.errors import InputError
from export.graph import DataflowGraph, Mvau, Thresholding
from hw.folding import Folding
from hw.rtlgen import RtlDesign
from hw.rtlgen.memory import stream_threshold_words


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Address:
    """A bit of a memory.

    Attributes:
        file: Name of the memory file.
        word: Word in it, which is its line.
        bit: Bit of the word, the least significant one is 0.
    """

    file: str
    word: int
    bit: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemoryLayout:
    """The memories of one network at one folding.

    Attributes:
        graph: The network.
        folding: PE and SIMD of each layer.
        lanes: Elements of a beat at each Thresholding, by its name.
    """

    graph: DataflowGraph
    folding: Folding
    lanes: Mapping[str, int]

    @classmethod
    def of(cls, graph: DataflowGraph, folding: Folding, design: RtlDesign) -> MemoryLayout:
        """Describe the memories of a generated design."""
        lanes = {
            instance.node: instance.source.lanes
            for instance in design.instances
            if instance.module == "bnn_thresholding"
        }
        return cls(graph=graph, folding=folding, lanes=lanes)

    def addresses(self, fault: MemoryFault) -> tuple[Address, ...]:
        """Return where the bit of a fault lies; it lies in several places where lanes hold copies.

        Raises:
            InputError: There is no such node; or channels share a word, so that no bit is the fault's own.
        """
        node = self._node(fault.node)
        if isinstance(fault, WeightFault):
            return (self._weight_address(node, fault),)
        if isinstance(node, Mvau):
            return (self._threshold_address(node, fault),)
        return self._stream_addresses(node, fault)

    def _node(self, name: str) -> Mvau | Thresholding:
        for node in self.graph.nodes:
            if node.name == name and isinstance(node, Mvau | Thresholding):
                return node
        raise InputError(f"there are no memories of {name!r}", node=name)

    def _weight_address(self, node: Mvau | Thresholding, fault: WeightFault) -> Address:
        if not isinstance(node, Mvau):
            raise InputError(f"{node.name} has no weights", node=node.name)
        layer = self.folding[node.name]
        group, pe = divmod(fault.row, layer.pe)
        beat, lane = divmod(fault.column, layer.simd)
        width = weight_bits(node)
        return Address(
            file=weight_file(node),
            word=group * self.folding.synapse_fold(node) + beat,
            bit=(pe * layer.simd + lane) * width + fault.bit,
        )

    def _threshold_address(self, node: Mvau, fault: ThresholdFault) -> Address:
        levels = thresholds_of(node).steps.shape[1]
        group, pe = divmod(fault.channel, self.folding[node.name].pe)
        bit = (pe * levels + fault.level) * threshold_bits(node) + fault.bit
        return Address(file=f"{node.name}_params.mem", word=group, bit=bit)

    def _stream_addresses(self, node: Thresholding, fault: ThresholdFault) -> tuple[Address, ...]:
        channels, lanes = self.graph.shapes[node.name][-1], self.lanes[node.name]
        words = stream_threshold_words(node.thresholds, node.in_type, lanes)
        fields, levels = len(words) * lanes, node.thresholds.steps.shape[1]
        if fields % channels:
            raise InputError(
                f"the channels of {node.name} share one word of thresholds",
                hint="no bit of it belongs to one channel alone",
                node=node.name,
            )
        places = [divmod(field, lanes) for field in range(fault.channel, fields, channels)]
        width = threshold_bits(node)
        return tuple(
            Address(
                file=f"{node.name}_thresholds.mem",
                word=word,
                bit=(lane * levels + fault.level) * width + fault.bit,
            )
            for word, lane in places
        )

    def word_shape(self, name: str, memory: str) -> tuple[int, int]:
        """Return words and bits of a word of an Mvau's memory: ``weight`` or ``threshold``.

        Raises:
            InputError: It has no such memory.
        """
        node = self._node(name)
        if not isinstance(node, Mvau):
            raise InputError(f"{name} is no Mvau", hint="bursts strike the memories of an Mvau", node=name)
        layer = self.folding[name]
        fold = self.folding.neuron_fold(node)
        if memory == WeightFault.kind:
            return fold * self.folding.synapse_fold(node), layer.pe * layer.simd * weight_bits(node)
        levels = thresholds_of(node).steps.shape[1]
        return fold, layer.pe * levels * threshold_bits(node)

    def burst(
        self, name: str, memory: str, *, word: int, bit: int, length: int, effect: Effect = Effect.FLIP
    ) -> tuple[MemoryFault, ...]:
        """Return faults in adjacent bits of one word, as one particle or one hammered row causes them.

        Args:
            name: Name of an Mvau.
            memory: ``weight`` or ``threshold``.
            word: Word of the memory.
            bit: First bit of the word.
            length: Bits in a row, all in this word.
            effect: What happens to each.

        Raises:
            InputError: The word or the bits are not there.
        """
        words, width = self.word_shape(name, memory)
        check_range("word", word, words, node=name)
        check_range("bit in a word", bit, width, node=name)
        check_range("bit in a word", bit + length - 1, width, node=name)
        return tuple(self._fault_at(name, memory, word, at, effect) for at in range(bit, bit + length))

    def _fault_at(self, name: str, memory: str, word: int, at: int, effect: Effect) -> MemoryFault:
        node, layer = self._node(name), self.folding[name]
        if memory == WeightFault.kind and isinstance(node, Mvau):
            field, bit = divmod(at, weight_bits(node))
            pe, lane = divmod(field, layer.simd)
            group, beat = divmod(word, self.folding.synapse_fold(node))
            return WeightFault(
                node=name,
                row=group * layer.pe + pe,
                column=beat * layer.simd + lane,
                bit=bit,
                effect=effect,
            )
        field, bit = divmod(at, threshold_bits(node))
        pe, level = divmod(field, thresholds_of(node).steps.shape[1])
        return ThresholdFault(node=name, channel=word * layer.pe + pe, level=level, bit=bit, effect=effect)


def weight_file(node: Mvau) -> str:
    """Name of the memory file of a layer's weights."""
    return f"{node.name}_{'weights' if node.draw is None else 'means'}.mem"


def faulty_memories(
    memories: Mapping[str, str], layout: MemoryLayout, faults: Iterable[MemoryFault]
) -> dict[str, str]:
    """Return the text of every memory file that faults change: single digits of it differ.

    Args:
        memories: Text of the design's memory files by name.
        layout: Where the bits lie.
        faults: They strike in their order.

    Raises:
        InputError: A fault's bit is in no memory, or not its own.
    """
    lines: dict[str, list[str]] = {}
    for fault in faults:
        for address in layout.addresses(fault):
            words = lines.setdefault(address.file, memories[address.file].splitlines())
            word = words[address.word]
            words[address.word] = f"{_changed(int(word, 16), address.bit, fault.effect):0{len(word)}x}"
    return {name: "\n".join(words) + "\n" for name, words in lines.items()}


def _changed(word: int, bit: int, effect: Effect) -> int:
    # Words are wider than NumPy's integers.
    if effect is Effect.FLIP:
        return word ^ (1 << bit)
    return word | (1 << bit) if effect is Effect.STUCK_AT_1 else word & ~(1 << bit)


def random_bursts(
    layout: MemoryLayout,
    name: str,
    memory: str,
    *,
    length: int,
    count: int,
    seed: int,
    effect: Effect = Effect.FLIP,
) -> list[tuple[MemoryFault, ...]]:
    """Return bursts at random places, each from the stream of (seed, its index) alone.

    Raises:
        InputError: A word of the memory is shorter than the burst.
    """
    words, width = layout.word_shape(name, memory)
    if length > width:
        raise InputError(f"{name}: a word has {width} bits, a burst {length}", node=name)
    bursts: list[tuple[MemoryFault, ...]] = []
    for index in range(count):
        place = int(np.random.default_rng((seed, index)).integers(words * (width - length + 1)))
        word, bit = divmod(place, width - length + 1)
        bursts.append(layout.burst(name, memory, word=word, bit=bit, length=length, effect=effect))
    return bursts
