"""A Verilog wrapper around the accelerator's top: Vivado's block designs take no SystemVerilog there.

It names the interfaces, so that the packager doesn't have to guess them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from export.errors import InputError

TOP = "bnn_overlay"
WRAPPER = "bnn_overlay_ip"
_HEADER = re.compile(
    rf"^module\s+{TOP}\b\s*(?:#\s*\((?P<parameters>.*?)\)\s*)?\((?P<ports>.*?)\)\s*;", re.M | re.S
)
_PORT = re.compile(
    r"^\s*(?P<way>input|output)\s+(?:(?:wire|logic|reg)\s+)*(?:\[\s*(?P<left>[^:\]]+):\s*0\s*\]\s*)?(?P<name>\w+)\s*$"
)
_PARAMETER = re.compile(r"\b(?P<name>[A-Z][A-Z0-9_]*)\s*=")
# The kind of each bus; with short bursts nothing has to split them for a PS7, whose ports take 16 beats.
_BUSES = {
    "s_axil": "PROTOCOL AXI4LITE",
    "m_axi": "PROTOCOL AXI4, MAX_BURST_LENGTH 16, SUPPORTS_NARROW_BURST 0",
}
ADDRESS_BITS = 32
"""Of the master: no board lets the accelerator beyond the lower 2 GiB."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the top.

    Attributes:
        way: ``input`` or ``output``.
        left: Index of its highest bit as it is written, or an empty text for a single bit.
        name: Its name.
    """

    way: str
    left: str
    name: str


def top_ports(source: str) -> tuple[tuple[Port, ...], frozenset[str]]:
    """Return the ports of the accelerator's top and the names of its parameters.

    Args:
        source: Text of ``bnn_overlay.sv``.

    Raises:
        InputError: There is no such module, or a port that the wrapper can't pass on.
    """
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.S)
    header = _HEADER.search(text)
    if header is None:
        raise InputError(f"the generated sources have no module {TOP}")
    parameters = frozenset(_PARAMETER.findall(header["parameters"] or ""))
    ports: list[Port] = []
    for part in header["ports"].split(","):
        found = _PORT.match(part)
        if found is None:
            raise InputError(f"{TOP} has a port that the wrapper can't pass on: {part.strip()}")
        ports.append(Port(found["way"], (found["left"] or "").strip(), found["name"]))
    names = {port.name for port in ports}
    lacking = {"clk", "rst_n", *(f"{bus}_{wire}" for bus in _BUSES for wire in ("awvalid", "rready"))} - names
    if lacking:
        raise InputError(f"{TOP} lacks the ports {', '.join(sorted(lacking))}")
    return tuple(ports), parameters


def wrapper_text(source: str) -> str:
    """Return the wrapper's Verilog.

    Args:
        source: Text of ``bnn_overlay.sv``.

    Raises:
        InputError: Its ports are not those of an overlay.
    """
    ports, parameters = top_ports(source)
    lines = [
        "// Generated: the top of the packaged IP. Its parameter names the folder of the memory files.",
        "`default_nettype none",
        "",
        f"module {WRAPPER} #(",
        '  parameter MEM_DIR = "./"',
        ") (",
        ",\n".join(_declaration(port) for port in ports),
        ");",
        f"  {TOP} #(",
        ",\n".join(f"    .{name}({value})" for name, value in _settings(parameters)),
        "  ) accelerator (",
        ",\n".join(f"    .{port.name}({port.name})" for port in ports),
        "  );",
        "endmodule",
        "",
        "`default_nettype wire",
    ]
    return "\n".join(lines) + "\n"


def _settings(parameters: frozenset[str]) -> Sequence[tuple[str, str]]:
    settings = [("MEM_DIR", "MEM_DIR")]
    if "ADDR_W" in parameters:
        settings.append(("ADDR_W", str(ADDRESS_BITS)))
    return settings


def _declaration(port: Port) -> str:
    left = port.left.replace("ADDR_W", str(ADDRESS_BITS))
    bits = f" [{left}:0]" if left else ""
    return f"{_attributes(port)}  {port.way} wire{bits} {port.name}"


def _attributes(port: Port) -> str:
    """What the packager is told about a port."""
    if port.name == "clk":
        return (
            '  (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 clk CLK" *)\n'
            f'  (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF {":".join(_BUSES)}, ASSOCIATED_RESET rst_n" *)\n'
        )
    if port.name == "rst_n":
        return (
            '  (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 rst_n RST" *)\n'
            '  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)\n'
        )
    for bus in _BUSES:
        if port.name.startswith(f"{bus}_"):
            wire = port.name.removeprefix(f"{bus}_").upper()
            told = f'  (* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 {bus} {wire}" *)\n'
            if wire == "AWADDR":
                told += f'  (* X_INTERFACE_PARAMETER = "{_BUSES[bus]}" *)\n'
            return told
    return ""
