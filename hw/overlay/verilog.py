"""The text of the generated overlay: an accelerator between two sides of a DMA, behind registers."""

from __future__ import annotations

from collections.abc import Sequence

from hw.rtlgen import RtlDesign
from hw.rtlgen.control import control_ports

OVERLAY_TOP = "bnn_overlay"
_WORD_BYTES = 8

_HEADER = """\
/// Generated overlay: an accelerator that reads images from memory and writes logits to it.
///
/// In: {frame_bytes} bytes a frame, uint8 in NHWC order.
/// Out: {classes} logits a frame, int32 little endian, filled up to {result_bytes} bytes.
/// Frames lie back to back in memory; addresses are multiples of 8.
/// s_axil, by byte address: 0x0000 the input's DMA and 0x1000 the output's (bnn_dma_registers), 0x2000
///   {control} and which circuit this is (bnn_identity). All others read as 0, and a write
///   to them does nothing. A write of less than a whole word is answered with SLVERR.
/// m_axi: INCR bursts of at most 16 64-bit words, none across 4 KiB, one identifier.
`default_nettype none

module {top} #(
    /// Folder of the memory files, with its final slash.
    parameter              MEM_DIR = "./",
    /// Bits of an address on m_axi [bits], 13 to 64.
    parameter int unsigned ADDR_W  = 40
) (
"""
_PORTS = (
    ("input", "", "clk"),
    ("input", "", "rst_n"),
    ("input", "15:0", "s_axil_awaddr"),
    ("input", "", "s_axil_awvalid"),
    ("output", "", "s_axil_awready"),
    ("input", "31:0", "s_axil_wdata"),
    ("input", "3:0", "s_axil_wstrb"),
    ("input", "", "s_axil_wvalid"),
    ("output", "", "s_axil_wready"),
    ("output", "1:0", "s_axil_bresp"),
    ("output", "", "s_axil_bvalid"),
    ("input", "", "s_axil_bready"),
    ("input", "15:0", "s_axil_araddr"),
    ("input", "", "s_axil_arvalid"),
    ("output", "", "s_axil_arready"),
    ("output", "31:0", "s_axil_rdata"),
    ("output", "1:0", "s_axil_rresp"),
    ("output", "", "s_axil_rvalid"),
    ("input", "", "s_axil_rready"),
    ("output", "ADDR_W-1:0", "m_axi_araddr"),
    ("output", "7:0", "m_axi_arlen"),
    ("output", "2:0", "m_axi_arsize"),
    ("output", "1:0", "m_axi_arburst"),
    ("output", "3:0", "m_axi_arcache"),
    ("output", "2:0", "m_axi_arprot"),
    ("output", "", "m_axi_arvalid"),
    ("input", "", "m_axi_arready"),
    ("input", "63:0", "m_axi_rdata"),
    ("input", "1:0", "m_axi_rresp"),
    ("input", "", "m_axi_rlast"),
    ("input", "", "m_axi_rvalid"),
    ("output", "", "m_axi_rready"),
    ("output", "ADDR_W-1:0", "m_axi_awaddr"),
    ("output", "7:0", "m_axi_awlen"),
    ("output", "2:0", "m_axi_awsize"),
    ("output", "1:0", "m_axi_awburst"),
    ("output", "3:0", "m_axi_awcache"),
    ("output", "2:0", "m_axi_awprot"),
    ("output", "", "m_axi_awvalid"),
    ("input", "", "m_axi_awready"),
    ("output", "63:0", "m_axi_wdata"),
    ("output", "7:0", "m_axi_wstrb"),
    ("output", "", "m_axi_wlast"),
    ("output", "", "m_axi_wvalid"),
    ("input", "", "m_axi_wready"),
    ("input", "1:0", "m_axi_bresp"),
    ("input", "", "m_axi_bvalid"),
    ("output", "", "m_axi_bready"),
)
_WIRES = """\

  // Registers.
  logic request, write, done, error, whole, known, forwarded;
  logic [13:0] word;
  logic [31:0] wdata, rdata, idma_rdata, odma_rdata, identity_rdata, control_rdata;
  logic [3:0] wstrb;
  logic [2:0] page;
  logic control_done, control_error, for_control;

  // Soft reset.
  logic core_rst_n, stop, resetting, idma_reset, odma_reset, read_quiet, write_quiet;

  assign whole = !write || (&wstrb);
  assign known = request && word[13:12] == 2'd0;
  for (genvar i = 0; i < 3; i++) begin : g_page
    assign page[i] = known && word[11:10] == 2'(i);
  end
  assign for_control = page[2] && word[9:2] == 8'd0;
  assign forwarded = for_control && core_rst_n;
  assign done = forwarded ? control_done : request;
  assign error = for_control ? control_error : !whole;

  always_comb begin
    rdata = '0;
    if (page[0]) rdata = idma_rdata;
    if (page[1]) rdata = odma_rdata;
    if (page[2]) rdata = for_control ? control_rdata : identity_rdata;
  end

  // Each side of the DMA.
  logic idma_start, idma_halted, idma_done, idma_frame_done;
  logic read_slave_error, read_decode_error, read_length_error;
  logic odma_start, odma_halted, odma_done, odma_frame_done;
  logic write_slave_error, write_decode_error, write_length_error, pack_length_error;
  logic [ADDR_W-1:0] idma_address, odma_address;
  logic [31:0] idma_frames, odma_frames;
  logic [63:0] in_word_tdata, out_word_tdata;
  logic in_word_tvalid, in_word_tready, in_word_tlast, out_word_tvalid, out_word_tready, out_word_tlast;
  logic [{in_range}:0] images_tdata;
  logic [{out_range}:0] logits_tdata;
  logic images_tvalid, images_tready, logits_tvalid, logits_tready, logits_tlast;
"""
_NO_CONTROL = """\

  // Nothing is drawn, so there is nothing to control.
  assign control_done  = 1'b1;
  assign control_error = !whole;
  assign control_rdata = '0;
"""
_CONTROL = """\

  // bnn_control inside the accelerator answers in the cycle after it was asked.
  logic [1:0] control_bresp, control_rresp;
  logic control_awready, control_wready, control_arready, control_bvalid, control_rvalid;

  assign control_done  = control_bvalid || control_rvalid;
  assign control_error = !core_rst_n || (write ? control_bresp[1] : control_rresp[1]);
"""
_FOOTER = """
  logic unused;
  assign unused = &{{1'b0, in_word_tlast{more}}};

endmodule

`default_nettype wire
"""

_CLOCK = (("clk", "clk"), ("rst_n", "core_rst_n"))
_Pairs = Sequence[tuple[str, str]]


def write_overlay(rtl: RtlDesign, digest: bytes) -> str:
    """Return the SystemVerilog text of the overlay around an accelerator.

    Args:
        rtl: The accelerator.
        digest: 32 bytes that name the circuit.
    """
    images, logits = rtl.input, rtl.output
    frame_bytes, classes = images.lanes * images.beats, logits.lanes * logits.beats
    frame_words = (classes + 1) // 2
    header = _HEADER.format(
        top=OVERLAY_TOP,
        frame_bytes=frame_bytes,
        classes=classes,
        result_bytes=frame_words * _WORD_BYTES,
        control="seed and frame (bnn_control)" if rtl.draws else "nothing that could be set",
    )
    wires = _WIRES.replace("{in_range}", str(images.width_bits - 1))
    wires = wires.replace("{out_range}", str(logits.width_bits + rtl.label_w - 1))
    unused = ", control_awready, control_wready, control_arready, control_bresp[0], control_rresp[0]"
    return "".join(
        (
            header,
            _ports(),
            wires,
            _CONTROL if rtl.draws else _NO_CONTROL,
            _bus(digest),
            _registers("idma", frame_bytes, ("read_slave_error", "read_decode_error", "read_length_error")),
            _registers(
                "odma",
                frame_words * _WORD_BYTES,
                ("write_slave_error", "write_decode_error", "write_length_error || pack_length_error"),
            ),
            _read_side(frame_bytes, images.lanes),
            _accelerator(rtl),
            _write_side(rtl, frame_words),
            _FOOTER.format(more=unused if rtl.draws else ", wstrb"),
        )
    )


def _ports() -> str:
    width = max(len(size) for _, size, _ in _PORTS)
    lines: list[str] = []
    for way, size, name in _PORTS:
        high, _, low = size.partition(":")
        bits = f"[{high:>{width - 2}}:{low}]" if size else " " * (width + 2)
        lines.append(f"    {way:<6} wire logic {bits} {name}")
    return ",\n".join(lines) + "\n);\n"


def _bus(digest: bytes) -> str:
    axil = [(name, name) for _, _, name in _PORTS if name.startswith("s_axil_")]
    requests = [(n, n) for n in ("request", "write", "word", "wdata", "wstrb", "done", "error", "rdata")]
    value = int.from_bytes(digest, "little")
    identity = [("read", "page[2] && !write"), ("word", "word[9:0]"), ("rdata", "identity_rdata")]
    clock = [("clk", "clk"), ("rst_n", "rst_n")]
    reset = [
        ("request", "idma_reset || odma_reset"),
        ("quiet", "read_quiet && write_quiet"),
        ("idle", "!for_control"),
        ("stop", "stop"),
        ("busy", "resetting"),
        ("core_rst_n", "core_rst_n"),
    ]
    return (
        _instance("bnn_axil", "u_axil", [("ADDR_W", "16")], [*clock, *axil, *requests])
        + _instance("bnn_identity", "u_identity", [("DIGEST", f"256'h{value:064x}")], [*clock, *identity])
        + _instance("bnn_dma_reset", "u_reset", [], [*clock, *reset])
    )


def _registers(side: str, frame_bytes: int, errors: tuple[str, str, str]) -> str:
    page = 0 if side == "idma" else 1
    ports = [
        *_CLOCK,
        ("select", f"page[{page}] && whole"),
        ("write", "write"),
        ("word", "word[9:0]"),
        ("wdata", "wdata"),
        ("rdata", f"{side}_rdata"),
        *(
            (name, f"{side}_{name}")
            for name in ("start", "address", "frames", "halted", "done", "frame_done")
        ),
        *zip(("slave_error", "decode_error", "length_error"), errors, strict=True),
        ("reset_request", f"{side}_reset"),
        ("resetting", "resetting"),
    ]
    parameters = [("FRAME_BYTES", str(frame_bytes)), ("ADDR_W", "ADDR_W")]
    return _instance("bnn_dma_registers", f"u_{side}", parameters, ports)


def _transfer(side: str) -> list[tuple[str, str]]:
    names = ("start", "address", "frames")
    return [*_CLOCK, *((name, f"{side}_{name}") for name in names), ("stop", f"stop || {side}_halted")]


def _errors(side: str) -> list[tuple[str, str]]:
    return [(name, f"{side}_{name}") for name in ("slave_error", "decode_error", "length_error")]


def _memory(*channels: str) -> list[tuple[str, str]]:
    prefixes = tuple(f"m_axi_{channel}" for channel in channels)
    return [(name, name) for _, _, name in _PORTS if name.startswith(prefixes)]


def _stream(port: str, wires: str, *, last: bool) -> list[tuple[str, str]]:
    roles = ("tdata", "tvalid", "tlast", "tready") if last else ("tdata", "tvalid", "tready")
    return [(f"{port}_{role}", f"{wires}_{role}") for role in roles]


def _read_side(frame_bytes: int, lanes: int) -> str:
    read = [*_transfer("idma"), ("quiet", "read_quiet"), *_errors("read"), *_memory("ar", "r")]
    read += _stream("m_axis", "in_word", last=True)
    unpack = [*_CLOCK, ("start", "idma_start"), ("frames", "idma_frames"), ("done", "idma_done")]
    unpack += [("frame_done", "idma_frame_done"), *_stream("s_axis", "in_word", last=False)]
    unpack += _stream("m_axis", "images", last=False)
    size = ("FRAME_BYTES", str(frame_bytes))
    return _instance("bnn_dma_read", "u_read", [size, ("ADDR_W", "ADDR_W")], read) + _instance(
        "bnn_dma_unpack", "u_unpack", [size, ("LANES", str(lanes))], unpack
    )


def _accelerator(rtl: RtlDesign) -> str:
    ports = [*_CLOCK, *_stream("s_axis", "images", last=False), *_stream("m_axis", "logits", last=True)]
    if rtl.draws:
        driven = {
            "awaddr": "{word[1:0], 2'b00}",
            "awvalid": "forwarded && write",
            "wdata": "wdata",
            "wstrb": "wstrb",
            "wvalid": "forwarded && write",
            "bready": "1'b1",
            "araddr": "{word[1:0], 2'b00}",
            "arvalid": "forwarded && !write",
            "rready": "1'b1",
        }
        for _, _, name in control_ports():
            role = name.removeprefix("s_axil_")
            ports.append((name, driven.get(role, f"control_{role}")))
    return _instance(rtl.top, "u_top", [("MEM_DIR", "MEM_DIR")], ports)


def _write_side(rtl: RtlDesign, frame_words: int) -> str:
    sizes = {"LOGIT_W": rtl.logit_w, "PE": rtl.output.lanes, "BEATS": rtl.output.beats}
    parameters = [(name, str(value)) for name, value in {**sizes, "LABEL_W": rtl.label_w}.items()]
    pack = [*_CLOCK, ("length_error", "pack_length_error"), *_stream("s_axis", "logits", last=True)]
    pack += _stream("m_axis", "out_word", last=True)
    write = [*_transfer("odma"), ("quiet", "write_quiet"), ("done", "odma_done")]
    write += [("frame_done", "odma_frame_done"), *_errors("write"), *_stream("s_axis", "out_word", last=True)]
    write += _memory("aw", "w", "b")
    return _instance("bnn_dma_pack", "u_pack", parameters, pack) + _instance(
        "bnn_dma_write", "u_write", [("FRAME_WORDS", str(frame_words)), ("ADDR_W", "ADDR_W")], write
    )


def _instance(module: str, name: str, parameters: _Pairs, ports: _Pairs) -> str:
    values = f" #(\n{_connections(parameters)}\n  )" if parameters else ""
    return f"\n  {module}{values} {name} (\n{_connections(ports)}\n  );\n"


def _connections(pairs: _Pairs) -> str:
    width = max(len(name) for name, _ in pairs)
    return ",\n".join(f"      .{name:<{width}}({value})" for name, value in pairs)
