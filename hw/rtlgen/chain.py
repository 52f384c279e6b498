"""The chain of module instances while it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from export.graph import IntArray, Node
from hw.rtlgen.design import Instance, Stream
from hw.rtlgen.memory import hex_words

_FIFO_DEPTH_MIN = 2


@dataclass(slots=True, kw_only=True)
class ChainBuilder:
    """Collects instances; `head` is the stream that the next one reads.

    Attributes:
        head: End of the chain so far.
        fifo_depths: Depth of the FIFO before an Mvau or FmPadding, by node name, where not the default.
        instances: The chain so far.
        memories: Text of memory files by name.
        with_contents: Whether memory files get their text; without it planning takes milliseconds.
    """

    head: Stream
    fifo_depths: Mapping[str, int]
    with_contents: bool = True
    instances: list[Instance] = field(default_factory=list[Instance])
    memories: dict[str, str] = field(default_factory=dict[str, str])

    def append(self, module: str, role: str, node: Node, sink: Stream, **parameters: int | str) -> None:
        """Add an instance that reads `head` and writes ``sink``."""
        self.instances.append(
            Instance(
                name=f"u_{node.name}{role}",
                module=module,
                parameters=parameters,
                source=self.head,
                sink=sink,
                node=node.name,
            )
        )
        self.head = sink

    def memory(self, node: Node, role: str, words: IntArray | Callable[[], IntArray], width_bits: int) -> str:
        """Add a memory file, of words or of what returns them; returns its name."""
        name = f"{node.name}_{role}.mem"
        if self.with_contents:
            self.memories[name] = hex_words(words() if callable(words) else words, width_bits)
        return name

    def buffer(self, node: Node, depth: int) -> None:
        """Add a FIFO before a node, of that depth unless another was asked for."""
        source = self.head
        depth = max(_FIFO_DEPTH_MIN, self.fifo_depths.get(node.name, depth))
        sink = Stream(name=f"{node.name}__fifo", dtype=source.dtype, lanes=source.lanes, beats=source.beats)
        self.append("bnn_fifo", "__fifo", node, sink, DATA_W=source.width_bits, DEPTH=depth)

    def convert(self, node: Node, lanes: int) -> None:
        """Make `head` a stream of that many elements a beat, with a width converter if it isn't one."""
        source = self.head
        if source.lanes == lanes:
            return
        beats = source.beats * source.lanes // lanes
        self.append(
            "bnn_dwc",
            "__dwc",
            node,
            Stream(name=f"{node.name}__dwc", dtype=source.dtype, lanes=lanes, beats=beats),
            ELEMENT_W=source.element_w,
            IN_LANES=source.lanes,
            OUT_LANES=lanes,
        )
