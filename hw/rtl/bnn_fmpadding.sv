/// Adds a border of one value around a feature map.
///
/// In: HEIGHT * WIDTH pixels a frame, row by row, each in CF = CHANNELS / LANES beats. Out: TOP + HEIGHT + BOTTOM rows
/// of LEFT + WIDTH + RIGHT pixels.
///   TERNARY = 0: elements keep their form; the border's hold the low bits of VALUE.
///   TERNARY = 1: elements are ±1 in one bit, and leave as two bits of two's complement, 01 and 11; the border's
///     hold VALUE in two bits.
///
/// Latency: 1 cycle; an inner beat is accepted in cycle t, its output is valid in cycle t + 1.
/// II: one output beat a cycle. In a cycle in which the output register is empty or leaves, the next beat of the
///   padded map enters it: an inner beat when one is offered, a border beat without input, but the first beat of a
///   frame not before s_axis_tvalid offers its first pixel, so that nothing leaves between frames. s_axis_tready =
///   (the next beat is an inner one) && (!m_axis_tvalid || m_axis_tready).
`default_nettype none

module bnn_fmpadding #(
    /// Bits of one input element [bits]; 1 when TERNARY.
    parameter  int unsigned ELEMENT_W = 1,
    /// 1: ±1 inputs become two bits of two's complement.
    parameter  bit          TERNARY   = 1'b0,
    /// Channels of a pixel [elements].
    parameter  int unsigned CHANNELS  = 2,
    /// Elements of a beat; divides CHANNELS.
    parameter  int unsigned LANES     = 1,
    /// Rows of the input [pixels].
    parameter  int unsigned HEIGHT    = 4,
    /// Columns of the input [pixels].
    parameter  int unsigned WIDTH     = 4,
    /// Rows added above [pixels].
    parameter  int unsigned TOP       = 1,
    /// Columns added on the left [pixels].
    parameter  int unsigned LEFT      = 1,
    /// Rows added below [pixels].
    parameter  int unsigned BOTTOM    = 1,
    /// Columns added on the right [pixels].
    parameter  int unsigned RIGHT     = 1,
    /// What a border element holds: its bits.
    parameter  int          VALUE     = 0,
    /// Bits of one output element [bits]; derived.
    localparam int unsigned OUT_W     = TERNARY ? 2 : ELEMENT_W
) (
    input  wire logic                       clk,
    input  wire logic                       rst_n,
    input  wire logic [LANES*ELEMENT_W-1:0] s_axis_tdata,
    input  wire logic                       s_axis_tvalid,
    output wire logic                       s_axis_tready,
    output wire logic [    LANES*OUT_W-1:0] m_axis_tdata,
    output wire logic                       m_axis_tvalid,
    input  wire logic                       m_axis_tready
);

  localparam int unsigned CF = CHANNELS / LANES;
  localparam int unsigned ROWS = TOP + HEIGHT + BOTTOM;
  localparam int unsigned ROW_BEATS = (LEFT + WIDTH + RIGHT) * CF;
  localparam int unsigned X_W = $clog2(ROW_BEATS + 1);
  localparam int unsigned Y_W = $clog2(ROWS + 1);

  if (ELEMENT_W < 1 || LANES < 1 || CHANNELS % LANES != 0) begin : g_illegal_lanes
    $error("bnn_fmpadding: LANES %0d must divide CHANNELS %0d", LANES, CHANNELS);
  end
  if (TERNARY && ELEMENT_W != 1) begin : g_illegal_ternary
    $error("bnn_fmpadding: ELEMENT_W is %0d, but bipolar inputs have one bit", ELEMENT_W);
  end
  if (HEIGHT < 1 || WIDTH < 1) begin : g_illegal_shape
    $error("bnn_fmpadding: HEIGHT %0d and WIDTH %0d must be at least 1", HEIGHT, WIDTH);
  end

  logic [X_W-1:0] x;
  logic [Y_W-1:0] y;
  logic [LANES*OUT_W-1:0] inner, out;
  logic valid, advance, in_map, start, write, x_last;

  // An unsigned difference below zero is large: one comparison checks both ends.
  assign in_map = (X_W + 1)'(x) - (X_W + 1)'(LEFT * CF) < (X_W + 1)'(WIDTH * CF) &&
      (Y_W + 1)'(y) - (Y_W + 1)'(TOP) < (Y_W + 1)'(HEIGHT);
  assign advance = !valid || m_axis_tready;
  assign s_axis_tready = advance && in_map;
  assign start = (x == '0) && (y == '0);
  assign write = advance && (s_axis_tvalid || (!in_map && !start));
  assign x_last = (x == X_W'(ROW_BEATS - 1));
  assign m_axis_tdata = out;
  assign m_axis_tvalid = valid;

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    if (TERNARY) begin : g_ternary
      assign inner[lane*OUT_W+:OUT_W] = {!s_axis_tdata[lane], 1'b1};
    end else begin : g_same
      assign inner[lane*OUT_W+:OUT_W] = s_axis_tdata[lane*ELEMENT_W+:ELEMENT_W];
    end
  end

  always_ff @(posedge clk) begin
    if (write) out <= in_map ? inner : {LANES{OUT_W'(VALUE)}};
    if (!rst_n) begin
      valid <= 1'b0;
      x     <= '0;
      y     <= '0;
    end else begin
      if (advance) valid <= write;
      if (write) begin
        x <= x_last ? '0 : x + 1'b1;
        if (x_last) y <= (y == Y_W'(ROWS - 1)) ? '0 : y + 1'b1;
      end
    end
  end

endmodule

`default_nettype wire
