"""What a generated design consists of: streams, module instances, memories, ports. No text, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from export.datatypes import DataType

TOP = "bnn_top"
LABEL_W = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An AXI4-Stream between two instances.

    Attributes:
        name: Wires are ``<name>_tdata``, ``<name>_tvalid`` and ``<name>_tready``. The output of a node
            carries the node's name; the streams in between have two underscores in theirs.
        dtype: Type of an element; BIPOLAR is one bit.
        lanes: Elements a beat, the first in the least significant bits.
        beats: Beats a frame.
        node: Name of the node whose output this is, else None.
    """

    name: str
    dtype: DataType
    lanes: int
    beats: int
    node: str | None = None

    @property
    def element_w(self) -> int:
        """Bits of an element."""
        return self.dtype.width_bits

    @property
    def width_bits(self) -> int:
        """Bits of a beat."""
        return self.lanes * self.element_w


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One module of a design.

    Attributes:
        name: Name of the instance.
        module: Name of the module, and of its file in ``hw/rtl``.
        parameters: Integers, names of memory files (`*_FILE`), and words.
        sources: The streams that it reads: bnn_add two, all others one.
        sinks: The streams that it writes: bnn_duplicate several, all others one.
        node: Name of the node that it belongs to; a bnn_duplicate belongs to the node whose output it copies,
            and to the first reader where it copies the images.
        fifo_key: Key of its depth in ``fifo_depths``: the node's name; before an Add that and ``.input`` or
            ``.other``. None where it is no bnn_fifo.
    """

    name: str
    module: str
    parameters: Mapping[str, int | str]
    sources: tuple[Stream, ...]
    sinks: tuple[Stream, ...]
    node: str
    fifo_key: str | None = None

    @property
    def source(self) -> Stream:
        """The stream that it reads.

        Raises:
            ValueError: It reads several.
        """
        (source,) = self.sources
        return source

    @property
    def sink(self) -> Stream:
        """The stream that it writes.

        Raises:
            ValueError: It writes several.
        """
        (sink,) = self.sinks
        return sink


def draws_weights(instance: Instance) -> bool:
    """Whether an instance draws its weights anew for each frame."""
    return bool(instance.parameters.get("DRAW", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlDesign:
    """A generated design.

    File names are relative to its directory, which holds nothing else.

    Attributes:
        instances: The modules; each comes after those whose streams it reads. The first one reads the images,
            the last one writes the logits.
        memories: Text of every memory file by name.
        top_text: The text of the top module.
        sources: Names of all SystemVerilog files, the top last.
        top: Name of the top module.
        label_w: Bits of the label in an output beat.
    """

    instances: tuple[Instance, ...]
    memories: Mapping[str, str]
    top_text: str
    sources: tuple[str, ...]
    top: str = TOP
    label_w: int = LABEL_W

    @property
    def draws(self) -> bool:
        """Whether weights are drawn, so that the top has an AXI4-Lite port for seed and frame."""
        return any(draws_weights(i) for i in self.instances)

    @property
    def input(self) -> Stream:
        """The stream of pixels that enters."""
        return self.instances[0].source

    @property
    def output(self) -> Stream:
        """The stream of sign-extended logits that leaves; each beat has `label_w` more bits above them."""
        return self.instances[-1].sink

    @property
    def logit_w(self) -> int:
        """Bits of a logit in an output beat: whole bytes."""
        return self.output.element_w

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The outputs of the nodes, in order: what a trace can show."""
        return tuple(sink for i in self.instances for sink in i.sinks if sink.node is not None)
