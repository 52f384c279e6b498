"""The graph of module instances while it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, IntArray, Node, inputs_of
from hw.rtlgen.design import Instance, Stream
from hw.rtlgen.memory import hex_words

_FIFO_DEPTH_MIN = 2


@dataclass(slots=True, kw_only=True)
class DesignBuilder:
    """Collects instances; `head` is the stream that the next one reads.

    A node's instances are added between an `open` of each stream that the node reads and one `close`. A
    stream that several nodes read gets a bnn_duplicate when it is closed; each `open` then returns another
    copy. A Flatten is no hardware: its readers read what it reads.

    Attributes:
        graph: The network.
        fifo_depths: Depth of a FIFO by its key (`Instance.fifo_key`), where not the default.
        with_contents: Whether memory files get their text; without it planning takes milliseconds.
        head: End of what is built of the node at hand.
        instances: The instances so far.
        memories: Text of memory files by name.
    """

    graph: DataflowGraph
    fifo_depths: Mapping[str, int]
    with_contents: bool = True
    head: Stream = field(init=False)
    instances: list[Instance] = field(default_factory=list[Instance])
    memories: dict[str, str] = field(default_factory=dict[str, str])
    _unread: dict[str, list[Stream]] = field(default_factory=dict[str, list[Stream]])

    def start(self, images: Stream) -> None:
        """Begin with the stream of the images."""
        self.head = images
        self._offer(INPUT_TENSOR, self.graph.nodes[0].name)

    def open(self, name: str) -> Stream:
        """Make a node's output, or the images, the `head`; returns it."""
        self.head = self._unread[_written(self.graph, name)].pop(0)
        return self.head

    def close(self, node: Node) -> None:
        """Make `head` the output of a node."""
        self._offer(node.name, node.name)

    def _offer(self, name: str, owner: str) -> None:
        readers = count_readers(self.graph, name)
        source = self.head
        if readers < 2:
            self._unread[name] = [source]
            return
        copies = tuple(
            Stream(name=f"{name}__copy_{k}", dtype=source.dtype, lanes=source.lanes, beats=source.beats)
            for k in range(readers)
        )
        self.instances.append(
            Instance(
                name=f"u_{name}__duplicate",
                module="bnn_duplicate",
                parameters={"DATA_W": source.width_bits, "COPIES": readers},
                sources=(source,),
                sinks=copies,
                node=owner,
            )
        )
        self._unread[name] = list(copies)

    def append(self, module: str, role: str, node: Node, sink: Stream, **parameters: int | str) -> None:
        """Add an instance that reads `head` and writes ``sink``."""
        self.join(module, role, node, (self.head,), sink, parameters)

    def join(
        self,
        module: str,
        role: str,
        node: Node,
        sources: Sequence[Stream],
        sink: Stream,
        parameters: Mapping[str, int | str],
        *,
        fifo_key: str | None = None,
    ) -> None:
        """Add an instance that reads several streams and writes ``sink``, the new `head`."""
        self.instances.append(
            Instance(
                name=f"u_{node.name}{role}",
                module=module,
                parameters=parameters,
                sources=tuple(sources),
                sinks=(sink,),
                node=node.name,
                fifo_key=fifo_key,
            )
        )
        self.head = sink

    def memory(self, node: Node, role: str, words: IntArray | Callable[[], IntArray], width_bits: int) -> str:
        """Add a memory file, of words or of what returns them; returns its name."""
        name = f"{node.name}_{role}.mem"
        if self.with_contents:
            self.memories[name] = hex_words(words() if callable(words) else words, width_bits)
        return name

    def buffer(self, node: Node, depth: int, side: str = "") -> None:
        """Add a FIFO before a node, of that depth unless another was asked for.

        Args:
            node: The node.
            depth: Words by default.
            side: ``input`` or ``other`` where the node reads two streams.
        """
        source, role = self.head, f"__{side}_fifo" if side else "__fifo"
        key = f"{node.name}.{side}" if side else node.name
        depth = max(_FIFO_DEPTH_MIN, self.fifo_depths.get(key, depth))
        sink = Stream(name=f"{node.name}{role}", dtype=source.dtype, lanes=source.lanes, beats=source.beats)
        parameters = {"DATA_W": source.width_bits, "DEPTH": depth}
        self.join("bnn_fifo", role, node, (source,), sink, parameters, fifo_key=key)

    def convert(self, node: Node, lanes: int, side: str = "") -> None:
        """Make `head` a stream of that many elements a beat, with a width converter if it isn't one."""
        source, role = self.head, f"__{side}_dwc" if side else "__dwc"
        if source.lanes == lanes:
            return
        beats = source.beats * source.lanes // lanes
        self.append(
            "bnn_dwc",
            role,
            node,
            Stream(name=f"{node.name}{role}", dtype=source.dtype, lanes=lanes, beats=beats),
            ELEMENT_W=source.element_w,
            IN_LANES=source.lanes,
            OUT_LANES=lanes,
        )


def _written(graph: DataflowGraph, name: str) -> str:
    """The node in whose stream a name is found in hardware: a Flatten's is that of what it reads."""
    flattens = {node.name: node.input for node in graph.nodes if isinstance(node, Flatten)}
    while name in flattens:
        name = flattens[name]
    return name


def count_readers(graph: DataflowGraph, name: str) -> int:
    """How many streams of a node's output hardware needs: one for each input that reads it."""
    count = 0
    for node in graph.nodes:
        reads = sum(read == name for read, _ in inputs_of(node))
        count += count_readers(graph, node.name) if reads and isinstance(node, Flatten) else reads
    return count
