"""Both sides of a DMA against an AXI memory that is not ours: data, rate, errors, stops."""

import contextlib

from cocotb_tools.check_results import get_results

from hw.rtlgen.generate import RTL_DIR

_BENCH_TESTS = 28
_MODULES = ("bnn_fifo", "bnn_dma_length", "bnn_dma_read", "bnn_dma_write")
# cocotbext-axi wants the identifiers that a master with one of them doesn't have.
_BENCH = """\
module bench (
    input wire logic clk,
    input wire logic rst_n,
    input wire logic read_start, write_start, read_stop, write_stop,
    input wire logic [31:0] read_address, write_address, read_frames, write_frames,
    output wire logic read_quiet, write_quiet, write_done, write_frame_done,
    output wire logic read_slave_error, read_decode_error, read_length_error,
    output wire logic write_slave_error, write_decode_error, write_length_error,
    output wire logic [0:0] m_axi_arid, m_axi_awid,
    input wire logic [0:0] m_axi_rid, m_axi_bid,
    output wire logic [31:0] m_axi_araddr, m_axi_awaddr,
    output wire logic [7:0] m_axi_arlen, m_axi_awlen, m_axi_wstrb,
    output wire logic [2:0] m_axi_arsize, m_axi_awsize, m_axi_arprot, m_axi_awprot,
    output wire logic [1:0] m_axi_arburst, m_axi_awburst,
    output wire logic [3:0] m_axi_arcache, m_axi_awcache,
    output wire logic m_axi_arvalid, m_axi_awvalid, m_axi_wvalid, m_axi_wlast, m_axi_rready, m_axi_bready,
    input wire logic m_axi_arready, m_axi_awready, m_axi_wready, m_axi_rvalid, m_axi_rlast, m_axi_bvalid,
    input wire logic [63:0] m_axi_rdata,
    output wire logic [63:0] m_axi_wdata,
    input wire logic [1:0] m_axi_rresp, m_axi_bresp,
    output wire logic [63:0] m_axis_tdata,
    output wire logic m_axis_tvalid, m_axis_tlast,
    input wire logic m_axis_tready,
    input wire logic [63:0] s_axis_tdata,
    input wire logic s_axis_tvalid, s_axis_tlast,
    output wire logic s_axis_tready
);
  assign {m_axi_arid, m_axi_awid} = 2'b00;
  bnn_dma_read #(.FRAME_BYTES(40), .ADDR_W(32)) u_read (
      .start(read_start), .address(read_address), .frames(read_frames), .stop(read_stop), .quiet(read_quiet),
      .slave_error(read_slave_error), .decode_error(read_decode_error), .length_error(read_length_error), .*
  );
  bnn_dma_write #(.FRAME_WORDS(5), .ADDR_W(32)) u_write (
      .start(write_start), .address(write_address), .frames(write_frames), .stop(write_stop),
      .quiet(write_quiet), .done(write_done), .frame_done(write_frame_done),
      .slave_error(write_slave_error), .decode_error(write_decode_error),
      .length_error(write_length_error), .*
  );
endmodule
"""


def test_both_sides_move_every_word_and_tell_every_error(tmp_path, cocotb_runner):
    (tmp_path / "bench.sv").write_text(_BENCH)
    runner = cocotb_runner()
    runner.build(
        sources=[*(RTL_DIR / f"{name}.sv" for name in _MODULES), tmp_path / "bench.sv"],
        hdl_toplevel="bench",
        build_dir=tmp_path / "sim",
        build_args=("-Wall", "-Wno-fatal", "--output-split", "0", "-CFLAGS", "-O1"),
        timescale=("1ns", "1ps"),
        log_file=tmp_path / "build.log",
        always=True,
    )
    with contextlib.suppress(SystemExit):
        runner.test(
            test_module="bench_dma",
            hdl_toplevel="bench",
            hdl_toplevel_lang="verilog",
            build_dir=tmp_path / "sim",
            test_dir=tmp_path,
            results_xml=str(tmp_path / "results.xml"),
            log_file=tmp_path / "simulation.log",
            seed=1,
        )
    found = get_results(tmp_path / "results.xml")
    assert found == (_BENCH_TESTS, 0), (tmp_path / "simulation.log").read_text()[-6000:]
