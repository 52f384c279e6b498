/// Adds two streams element by element: where a residual branch comes back.
///
/// A beat of each stream is taken in the same cycle. An element is, each stream for itself, a ±1 in one bit (1 = +1),
/// or an integer, two's complement or unsigned. The sum leaves in OUT_W bits; where it does not fit them its higher bits
/// are lost.
///
/// Latency: 1 cycle; the later one of two beats is accepted in cycle t, their sum is valid in cycle t + 1.
/// II: 1 cycle a beat. Both are accepted in a cycle in which both are valid and (!m_axis_tvalid || m_axis_tready): the
///   tready of each input depends combinationally on m_axis_tready and on the other one's tvalid.
`default_nettype none

module bnn_add #(
    /// Elements of a beat, >= 1.
    parameter int unsigned LANES       = 1,
    /// Bits of an element of input 0 [bits], 1 to 32; 1 when IN0_BIPOLAR.
    parameter int unsigned IN0_W       = 8,
    /// 1: elements of input 0 are ±1.
    parameter bit          IN0_BIPOLAR = 1'b0,
    /// 1: elements of input 0 are two's complement.
    parameter bit          IN0_SIGNED  = 1'b0,
    /// Bits of an element of input 1 [bits], 1 to 32; 1 when IN1_BIPOLAR.
    parameter int unsigned IN1_W       = 8,
    /// 1: elements of input 1 are ±1.
    parameter bit          IN1_BIPOLAR = 1'b0,
    /// 1: elements of input 1 are two's complement.
    parameter bit          IN1_SIGNED  = 1'b0,
    /// Bits of an element of the sum [bits].
    parameter int unsigned OUT_W       = 9
) (
    input  wire logic                   clk,
    input  wire logic                   rst_n,
    input  wire logic [LANES*IN0_W-1:0] s0_axis_tdata,
    input  wire logic                   s0_axis_tvalid,
    output wire logic                   s0_axis_tready,
    input  wire logic [LANES*IN1_W-1:0] s1_axis_tdata,
    input  wire logic                   s1_axis_tvalid,
    output wire logic                   s1_axis_tready,
    output wire logic [LANES*OUT_W-1:0] m_axis_tdata,
    output wire logic                   m_axis_tvalid,
    input  wire logic                   m_axis_tready
);

  if (LANES < 1 || OUT_W < 1) begin : g_illegal_lanes
    $error("bnn_add: LANES %0d and OUT_W %0d must be at least 1", LANES, OUT_W);
  end
  if (IN0_W < 1 || IN0_W > 32 || IN1_W < 1 || IN1_W > 32) begin : g_illegal_in_w
    $error("bnn_add: IN0_W %0d and IN1_W %0d must be 1 to 32", IN0_W, IN1_W);
  end
  if ((IN0_BIPOLAR && IN0_W != 1) || (IN1_BIPOLAR && IN1_W != 1)) begin : g_illegal_bipolar
    $error("bnn_add: IN0_W is %0d and IN1_W %0d, but bipolar inputs have one bit", IN0_W, IN1_W);
  end

  logic [LANES*OUT_W-1:0] sums, out;
  logic valid, advance;

  assign advance        = !valid || m_axis_tready;
  assign s0_axis_tready = advance && s1_axis_tvalid;
  assign s1_axis_tready = advance && s0_axis_tvalid;
  assign m_axis_tdata   = out;
  assign m_axis_tvalid  = valid;

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    logic [IN0_W-1:0] x0;
    logic [IN1_W-1:0] x1;
    logic [OUT_W-1:0] a0, a1;

    assign x0 = s0_axis_tdata[lane*IN0_W+:IN0_W];
    assign x1 = s1_axis_tdata[lane*IN1_W+:IN1_W];
    // ±1 in two's complement: 01 or 11.
    if (IN0_BIPOLAR) begin : g_bipolar_0
      assign a0 = OUT_W'($signed({~x0[0], 1'b1}));
    end else if (IN0_SIGNED) begin : g_signed_0
      assign a0 = OUT_W'($signed(x0));
    end else begin : g_unsigned_0
      assign a0 = OUT_W'(x0);
    end
    if (IN1_BIPOLAR) begin : g_bipolar_1
      assign a1 = OUT_W'($signed({~x1[0], 1'b1}));
    end else if (IN1_SIGNED) begin : g_signed_1
      assign a1 = OUT_W'($signed(x1));
    end else begin : g_unsigned_1
      assign a1 = OUT_W'(x1);
    end
    assign sums[lane*OUT_W+:OUT_W] = a0 + a1;
  end

  always_ff @(posedge clk) begin
    if (advance && s0_axis_tvalid && s1_axis_tvalid) out <= sums;
    if (!rst_n) valid <= 1'b0;
    else if (advance) valid <= s0_axis_tvalid && s1_axis_tvalid;
  end

endmodule

`default_nettype wire
