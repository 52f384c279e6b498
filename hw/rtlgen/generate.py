"""Writing a design: the top, the memory files, and copies of the modules that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from export.errors import InputError
from export.files import atomic_directory
from export.graph import DataflowGraph
from hw.folding import Folding
from hw.rtlgen.control import DRAW_MODULES
from hw.rtlgen.design import TOP, Instance, RtlDesign, draws_weights
from hw.rtlgen.plan import build_design
from hw.rtlgen.verilog import write_top

_AGAIN = "it was changed, or made by another version: compile the network again"
RTL_DIR = Path(__file__).parent.parent / "rtl"


def plan_rtl(
    graph: DataflowGraph,
    folding: Folding,
    *,
    fifo_depths: Mapping[str, int] | None = None,
    with_contents: bool = True,
) -> RtlDesign:
    """Describe the hardware of a network, without writing anything.

    Args:
        graph: The network: any graph whose last node is an Mvau without thresholds.
        folding: PE and SIMD of every Mvau.
        fifo_depths: Depth of a FIFO by its key, where not the default: the name of the Mvau or FmPadding
            after it; before an Add the Add's name and ``.input`` or ``.other``.
        with_contents: Whether to fill the memory files; `memories` is empty without, and planning quick.

    Raises:
        InputError: The folding does not fit, or the hardware can't compute a node; it names the node.
    """
    builder = build_design(graph, folding, fifo_depths, with_contents=with_contents)
    modules = dict.fromkeys(name for i in builder.instances for name in (*_needs(i), i.module))
    return RtlDesign(
        instances=tuple(builder.instances),
        memories=builder.memories,
        top_text=write_top(builder.instances),
        sources=(*(f"{name}.sv" for name in modules), f"{TOP}.sv"),
    )


def generate_rtl(
    graph: DataflowGraph,
    folding: Folding,
    directory: Path,
    *,
    fifo_depths: Mapping[str, int] | None = None,
) -> RtlDesign:
    """Write the hardware of a network to a directory of its own; the same input gives the same bytes.

    Args:
        graph: The network: any graph whose last node is an Mvau without thresholds.
        folding: PE and SIMD of every Mvau.
        directory: Replaced as a whole. The memory files are read from the parameter ``MEM_DIR`` of the top.
        fifo_depths: Depth of a FIFO by its key, where not the default: the name of the Mvau or FmPadding
            after it; before an Add the Add's name and ``.input`` or ``.other``.

    Returns:
        What was written.

    Raises:
        InputError: The folding does not fit, the hardware can't compute a node, or the directory can't be
            written.
    """
    design = plan_rtl(graph, folding, fifo_depths=fifo_depths)
    with atomic_directory(directory) as temporary:
        for name, content in _files(design).items():
            (temporary / name).write_bytes(content)
    return design


def check_rtl(design: RtlDesign, directory: Path) -> None:
    """Check that a directory holds exactly this design.

    Raises:
        InputError: A file is missing or differs; the message names it.
    """
    for name, content in _files(design).items():
        path = directory / name
        try:
            found = path.read_bytes()
        except OSError as error:
            raise InputError(f"can't read {path}: {error.strerror or error}", hint=_AGAIN) from error
        if found != content:
            raise InputError(f"{path} is not the hardware of this build's graph and folding", hint=_AGAIN)


def _needs(instance: Instance) -> tuple[str, ...]:
    """The modules that an instance's module instantiates."""
    if instance.module != "bnn_mvau":
        return ()
    return (*_sum_modules(instance), *(DRAW_MODULES if draws_weights(instance) else ()))


def _sum_modules(instance: Instance) -> tuple[str, ...]:
    if instance.parameters["WEIGHT_W"] == 1:
        return ("bnn_count6", "bnn_match3", "bnn_compress", "bnn_popcount", "bnn_dot")
    return ("bnn_multiply_add",)


def _files(design: RtlDesign) -> dict[str, bytes]:
    """Return the content of every file of a design by name: modules, top, memories."""
    modules = {name: (RTL_DIR / name).read_bytes() for name in design.sources[:-1]}
    memories = {name: text.encode("ascii") for name, text in design.memories.items()}
    return {**modules, design.sources[-1]: design.top_text.encode(), **memories}
