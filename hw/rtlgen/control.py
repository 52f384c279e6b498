"""The AXI4-Lite port of a design that draws weights: ports and registers of the top module."""

from __future__ import annotations

from hw.rtlgen.design import Stream

DRAW_MODULES = ("bnn_control", "bnn_threefry", "bnn_draw")
"""What a design needs that draws weights."""

SEED_ADDRESS = 0x0
FRAME_ADDRESS = 0x4
STATUS_ADDRESS = 0x8

_WRITE = (
    ("input", 4, "awaddr"),
    ("input", 1, "awvalid"),
    ("output", 1, "awready"),
    ("input", 32, "wdata"),
    ("input", 4, "wstrb"),
    ("input", 1, "wvalid"),
    ("output", 1, "wready"),
    ("output", 2, "bresp"),
    ("output", 1, "bvalid"),
    ("input", 1, "bready"),
)
_READ = (
    ("input", 4, "araddr"),
    ("input", 1, "arvalid"),
    ("output", 1, "arready"),
    ("output", 32, "rdata"),
    ("output", 2, "rresp"),
    ("output", 1, "rvalid"),
    ("input", 1, "rready"),
)
_PREFIX = "s_axil_"
_WIRES = ("seed", "frame", "restart")

DRAW_PORTS = tuple((f"draw_{name}", f"draw__{name}") for name in _WIRES)
"""Ports of a bnn_mvau that draws, and the top's wires for them."""


def control_ports() -> list[tuple[str, int, str]]:
    """Return the ports of the top module: direction, bits, name."""
    return [(way, bits, f"{_PREFIX}{name}") for way, bits, name in (*_WRITE, *_READ)]


def control_instance(images: Stream) -> tuple[str, dict[str, int], list[tuple[str, str]]]:
    """Return the declarations, the parameters and the connections of the register block.

    Args:
        images: The stream that enters the top.
    """
    declarations = (
        "\n  // For the generators of drawn weights.\n"
        "  logic [31:0] draw__seed;\n  logic [31:0] draw__frame;\n  logic draw__restart;\n"
    )
    names = [name for _, _, name in control_ports()]
    ports = [("clk", "clk"), ("rst_n", "rst_n"), *((name, name) for name in names)]
    ports.append(("beat_in", "s_axis_tvalid && s_axis_tready"))
    ports.append(("last_out", "m_axis_tvalid && m_axis_tready && m_axis_tlast"))
    ports += [(name, f"draw__{name}") for name in _WIRES]
    return declarations, {"IN_BEATS": images.beats}, ports
