"""The text of the generated top module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hw.rtlgen.control import DRAW_PORTS, control_instance, control_ports
from hw.rtlgen.design import LABEL_W, TOP, Instance, Stream, draws_weights

_HEADER = """\
/// Generated accelerator: layers between two AXI4-Streams.
///
/// In: {in_beats} beats a frame of {in_lanes} uint8 pixels in NHWC order, the first one in the low byte.
/// Out: {out_beats} beats a frame of {out_lanes} logits in {logit_w} bits, two's complement; above them the
///   label so far in {label_w} bits, final in the last beat, which has tlast.
{about}`default_nettype none

module {top} #(
    /// Folder of the memory files, with its final slash.
    parameter MEM_DIR = "./"
) (
    input  wire logic {none} clk,
    input  wire logic {none} rst_n,
    input  wire logic {in_range} s_axis_tdata,
    input  wire logic {none} s_axis_tvalid,
    output wire logic {none} s_axis_tready,
    output wire logic {out_range} m_axis_tdata,
    output wire logic {none} m_axis_tvalid,
    output wire logic {none} m_axis_tlast,
    input  wire logic {none} m_axis_tready{control}
);
"""
_CONTROL = """\
/// AXI4-Lite: seed and frame index of the weights that are drawn for each frame; see bnn_control.
"""
_ROLES = ("tdata", "tvalid", "tready")
_FOOTER = """
endmodule

`default_nettype wire
"""


def write_top(instances: Sequence[Instance]) -> str:
    """Return the SystemVerilog text of the top module.

    Args:
        instances: The modules, each after those whose streams it reads.
    """
    source, sink = instances[0].source, instances[-1].sink
    high_in, high_out = str(source.width_bits - 1), str(sink.width_bits + LABEL_W - 1)
    draws = any(draws_weights(i) for i in instances)
    digits = max(len(high_in), len(high_out), 2 if draws else 1)
    header = _HEADER.format(
        top=TOP,
        in_lanes=source.lanes,
        in_beats=source.beats,
        out_beats=sink.beats,
        out_lanes=sink.lanes,
        logit_w=sink.element_w,
        label_w=LABEL_W,
        in_range=f"[{high_in:>{digits}}:0]",
        out_range=f"[{high_out:>{digits}}:0]",
        none=" " * (digits + 4),
        control="".join(_control_port(*port, digits) for port in control_ports()) if draws else "",
        about=_CONTROL if draws else "",
    )
    parts = [header, _control(source) if draws else ""]
    parts += [_declare(sink) for i in instances[:-1] for sink in i.sinks]
    parts += [_instantiate(i, last=i is instances[-1]) for i in instances]
    return "".join(parts) + _FOOTER


def _control_port(way: str, bits: int, name: str, digits: int) -> str:
    size = f"[{bits - 1:>{digits}}:0]" if bits > 1 else " " * (digits + 4)
    return f",\n    {way:<6} wire logic {size} {name}"


def _control(images: Stream) -> str:
    declarations, parameters, ports = control_instance(images)
    values = _connections((name, str(value)) for name, value in parameters.items())
    return f"{declarations}\n  bnn_control #(\n{values}\n  ) u_control (\n{_connections(ports)}\n  );\n"


def _declare(stream: Stream) -> str:
    return (
        f"\n  // {stream.beats} beats a frame, {stream.lanes} {stream.dtype} a beat.\n"
        f"  logic [{stream.width_bits - 1}:0] {stream.name}_tdata;\n"
        f"  logic {stream.name}_tvalid;\n"
        f"  logic {stream.name}_tready;\n"
    )


def _instantiate(instance: Instance, *, last: bool) -> str:
    ports = [("clk", "clk"), ("rst_n", "rst_n")]
    for index, source in enumerate(instance.sources):
        port = "s_axis" if len(instance.sources) == 1 else f"s{index}_axis"
        ports += [(f"{port}_{role}", f"{source.name}_{role}") for role in _ROLES]
    for role in _ROLES:
        ports.append((f"m_axis_{role}", _joined([f"{sink.name}_{role}" for sink in instance.sinks])))
    if last:
        ports.append(("m_axis_tlast", "m_axis_tlast"))
    if draws_weights(instance):
        ports += DRAW_PORTS
    parameters = [(name, _literal(name, value)) for name, value in instance.parameters.items()]
    return (
        f"\n  {instance.module} #(\n{_connections(parameters)}\n"
        f"  ) {instance.name} (\n{_connections(ports)}\n  );\n"
    )


def _joined(wires: Sequence[str]) -> str:
    """One wire, or several side by side, the first one in the low bits."""
    return wires[0] if len(wires) == 1 else f"{{{', '.join(reversed(wires))}}}"


def _connections(pairs: Iterable[tuple[str, str]]) -> str:
    pairs = list(pairs)
    width = max(len(name) for name, _ in pairs)
    return ",\n".join(f"      .{name:<{width}}({value})" for name, value in pairs)


def _literal(name: str, value: int | str) -> str:
    if not isinstance(value, str):
        return str(value)
    return f'{{MEM_DIR, "{value}"}}' if name.endswith("_FILE") else f'"{value}"'
