"""The harness against a design that breaks the protocol on request."""

import numpy as np
import pytest

from export.errors import CheckFailedError, ToolError
from hw.verilator import Design, Simulation, Stalls, build_library

GOOD, HANGS, LAST_EARLY, WRONG_LABEL, WITHDRAWS = range(5)

# One pixel in, which is the misdeed to commit; two beats of one logit out: 5 and 7.
SOURCE = f"""
module bnn_top (
    input wire clk, input wire rst_n,
    input wire [7:0] s_axis_tdata, input wire s_axis_tvalid, output wire s_axis_tready,
    output wire [23:0] m_axis_tdata, output wire m_axis_tvalid, output wire m_axis_tlast,
    input wire m_axis_tready
);
  logic [7:0] misdeed, memory[1];
  logic busy, second, odd;
  initial $readmemh("logit.mem", memory);
  assign s_axis_tready = !busy;
  assign m_axis_tvalid = busy && misdeed != {HANGS} && !(misdeed == {WITHDRAWS} && odd);
  assign m_axis_tlast = second || misdeed == {LAST_EARLY};
  assign m_axis_tdata = second ? {{misdeed == {WRONG_LABEL} ? 16'd0 : 16'd1, 8'd7}} : {{16'd0, memory[0]}};
  always_ff @(posedge clk) begin
    odd <= !odd;
    if (!rst_n) begin
      busy <= 0; second <= 0; odd <= 0;
    end else if (s_axis_tvalid && s_axis_tready) begin
      busy <= 1; misdeed <= s_axis_tdata;
    end else if (m_axis_tvalid && m_axis_tready) begin
      second <= !second; busy <= !second;
    end
  end
endmodule
"""


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    (folder / "bnn_top.sv").write_text(SOURCE)
    (folder / "logit.mem").write_text("05\n")
    return Design(
        sources=(folder / "bnn_top.sv",),
        input_beats=1,
        input_beat_bytes=1,
        output_beats=2,
        output_pe=1,
        logit_bytes=1,
        label_bytes=2,
    )


@pytest.fixture(scope="module")
def library(design, simulator_cache):
    return build_library(design, cache_dir=simulator_cache)


@pytest.fixture
def simulation(design, library):
    with Simulation(library, design, design.sources[0].parent) as simulation:
        yield simulation


def frames(*misdeeds: int) -> np.ndarray:
    return np.array(misdeeds, np.uint8)


def test_a_good_stream(simulation):
    result = simulation.stream(frames(0, 0, 0), deadline_cycles=10)
    assert result.logits.tolist() == [[5, 7]] * 3
    assert result.first_in_cycle.tolist() == [0, 3, 6]
    assert result.last_out_cycle.tolist() == [2, 5, 8]
    assert result.cycles.tolist() == [3, 3, 3]
    assert result.total_cycles == 9
    assert simulation.stream(frames(), deadline_cycles=10).total_cycles == 0


@pytest.mark.parametrize(
    ("misdeed", "message"),
    [
        (HANGS, r"image 2, cycle 17: the simulated hardware hangs: no beat moved .* for 10 cycles"),
        (LAST_EARLY, r"image 2, cycle 7: the simulated hardware raised tlast"),
        (WRONG_LABEL, r"image 2, cycle 8: the simulated hardware gave a label"),
    ],
)
def test_misdeeds_are_noticed(simulation, misdeed, message):
    with pytest.raises(CheckFailedError, match=message):
        simulation.stream(frames(0, 0, misdeed), deadline_cycles=10)
    with pytest.raises(CheckFailedError, match="image 102"):
        simulation.stream(frames(0, 0, misdeed), deadline_cycles=10, first_image=100)
    assert simulation.stream(frames(0), deadline_cycles=10).logits.tolist() == [[5, 7]]


def test_a_withdrawn_beat_is_noticed(simulation):
    with pytest.raises(CheckFailedError, match="withdrew"):
        simulation.stream(frames(*[WITHDRAWS] * 20), deadline_cycles=200, stalls=Stalls(seed=1, sink=0.6))


def test_a_missing_memory_file_is_named(design, library, tmp_path):
    with pytest.raises(ToolError, match=f"can't read the memory file {tmp_path}/logit.mem"):
        Simulation(library, design, tmp_path)


def test_a_damaged_library_is_named(design, tmp_path):
    broken = tmp_path / "design.so"
    broken.write_bytes(b"not a library")
    with pytest.raises(ToolError, match="can't load the simulator"):
        Simulation(broken, design, tmp_path)


def test_a_fast_library_has_no_waves(simulation, tmp_path):
    with pytest.raises(ToolError, match="built without"):
        simulation.stream(frames(0), deadline_cycles=10, wave=(tmp_path / "wave.fst", 0))


def test_misuse(simulation):
    with pytest.raises(ValueError, match="uint8"):
        simulation.stream(np.zeros(1, np.int64), deadline_cycles=10)
    simulation.close()
    simulation.close()
    with pytest.raises(ValueError, match="closed"):
        simulation.stream(frames(0), deadline_cycles=10)


def test_broken_verilog_is_reported(design, tmp_path, simulator_cache):
    import dataclasses

    source = tmp_path / "bnn_top.sv"
    source.write_text("module bnn_top (; endmodule")
    with pytest.raises(ToolError, match=r"Verilator failed .*syntax error"):
        build_library(dataclasses.replace(design, sources=(source,)), cache_dir=simulator_cache)
