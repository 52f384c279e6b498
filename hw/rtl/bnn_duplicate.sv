/// Duplicates a stream: every beat goes to COPIES readers, each of which takes it when it likes.
///
/// One register holds the beat, and a flag for each copy says that it has not left yet. Output i is bit i of
/// m_axis_tvalid and m_axis_tready and the i-th DATA_W bits of m_axis_tdata; no output waits for another one. The valid
/// flags are registers, so that the joins of a graph close no combinational loop.
///
/// Latency: 1 cycle to every output; accepted in cycle t, valid in cycle t + 1.
/// II: 1 cycle a beat. A beat is accepted when each copy of the one before has left or leaves in the same cycle:
///   s_axis_tready depends combinationally on every m_axis_tready.
`default_nettype none

module bnn_duplicate #(
    /// Bits of a beat [bits], >= 1.
    parameter int unsigned DATA_W = 8,
    /// Outputs, >= 2.
    parameter int unsigned COPIES = 2
) (
    input  wire logic                     clk,
    input  wire logic                     rst_n,
    input  wire logic [       DATA_W-1:0] s_axis_tdata,
    input  wire logic                     s_axis_tvalid,
    output wire logic                     s_axis_tready,
    output wire logic [COPIES*DATA_W-1:0] m_axis_tdata,
    output wire logic [       COPIES-1:0] m_axis_tvalid,
    input  wire logic [       COPIES-1:0] m_axis_tready
);

  if (DATA_W < 1) begin : g_illegal_data_w
    $error("bnn_duplicate: DATA_W is %0d, it must be at least 1", DATA_W);
  end
  if (COPIES < 2) begin : g_illegal_copies
    $error("bnn_duplicate: COPIES is %0d, it must be at least 2", COPIES);
  end

  logic [DATA_W-1:0] held;
  logic [COPIES-1:0] waiting, stays;
  logic take;

  assign stays         = waiting & ~m_axis_tready;
  assign s_axis_tready = (stays == '0);
  assign take          = s_axis_tvalid && s_axis_tready;
  assign m_axis_tdata  = {COPIES{held}};
  assign m_axis_tvalid = waiting;

  always_ff @(posedge clk) begin
    if (take) held <= s_axis_tdata;
    if (!rst_n) waiting <= '0;
    else waiting <= take ? '1 : stays;
  end

endmodule

`default_nettype wire
