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
    """One module of the chain.

    Attributes:
        name: Name of the instance.
        module: Name of the module, and of its file in ``hw/rtl``.
        parameters: Integers, and names of memory files.
        source: The stream that it reads.
        sink: The stream that it writes.
        node: Name of the node that it belongs to.
    """

    name: str
    module: str
    parameters: Mapping[str, int | str]
    source: Stream
    sink: Stream
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlDesign:
    """A generated design.

    File names are relative to its directory, which holds nothing else.

    Attributes:
        instances: The chain, in the order in which data flows.
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
        return tuple(i.sink for i in self.instances if i.sink.node is not None)
