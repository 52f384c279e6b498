/// Data-width converter: regroups a stream from IN_LANES to OUT_LANES elements a beat, in order.
///
/// Any pair of counts works; a frame must hold a whole number of beats on both sides, or its rest stays inside
/// until the next frame pushes it out. Equal counts are wires. Otherwise s_axis_tready depends combinationally on
/// m_axis_tready.
///
/// Latency: 1 cycle; the beat that completes an output is accepted in cycle t, the output is valid in cycle t + 1.
///   0 cycles with equal counts.
/// II: no bubbles: the narrower side moves in every cycle, or with a ratio that is no integer, whenever its
///   elements are there.
///   OUT_LANES divides IN_LANES: a beat is accepted when nothing is stored, or when the last part of the one
///     before leaves in the same cycle.
///   IN_LANES divides OUT_LANES: a beat is accepted unless a complete output waits for m_axis_tready.
///   Otherwise: a beat is accepted when at most OUT_LANES - gcd elements remain after what leaves in the same
///     cycle.
`default_nettype none

module bnn_dwc #(
    /// Bits of one element [bits], >= 1.
    parameter int unsigned ELEMENT_W = 1,
    /// Elements of an input beat, >= 1.
    parameter int unsigned IN_LANES  = 8,
    /// Elements of an output beat, >= 1.
    parameter int unsigned OUT_LANES = 4
) (
    input  wire logic                           clk,
    input  wire logic                           rst_n,
    input  wire logic [ IN_LANES*ELEMENT_W-1:0] s_axis_tdata,
    input  wire logic                           s_axis_tvalid,
    output wire logic                           s_axis_tready,
    output wire logic [OUT_LANES*ELEMENT_W-1:0] m_axis_tdata,
    output wire logic                           m_axis_tvalid,
    input  wire logic                           m_axis_tready
);

  function automatic integer gcd(input integer a, input integer b);
    integer x, y, rest;
    x = a;
    y = b;
    while (y != 0) begin
      rest = x % y;
      x = y;
      y = rest;
    end
    gcd = x;
  endfunction

  localparam int unsigned IN_W = IN_LANES * ELEMENT_W;
  localparam int unsigned OUT_W = OUT_LANES * ELEMENT_W;

  if (ELEMENT_W < 1 || IN_LANES < 1 || OUT_LANES < 1) begin : g_illegal
    $error(
        "bnn_dwc: ELEMENT_W %0d, IN_LANES %0d and OUT_LANES %0d must be at least 1",
        ELEMENT_W,
        IN_LANES,
        OUT_LANES
    );
  end

  if (IN_LANES == OUT_LANES) begin : g_wires
    logic unused;

    assign unused        = &{1'b0, clk, rst_n};
    assign m_axis_tdata  = s_axis_tdata;
    assign m_axis_tvalid = s_axis_tvalid;
    assign s_axis_tready = m_axis_tready;
  end else if (IN_LANES % OUT_LANES == 0) begin : g_narrow
    localparam int unsigned PARTS = IN_LANES / OUT_LANES;
    localparam int unsigned COUNT_W = $clog2(PARTS + 1);

    logic [IN_W-1:0] held;
    logic [COUNT_W-1:0] left;

    assign m_axis_tdata  = held[OUT_W-1:0];
    assign m_axis_tvalid = (left != '0);
    assign s_axis_tready = (left == '0) || (left == COUNT_W'(1) && m_axis_tready);

    always_ff @(posedge clk) begin
      if (s_axis_tvalid && s_axis_tready) held <= s_axis_tdata;
      else if (m_axis_tready) held <= held >> OUT_W;
      if (!rst_n) left <= '0;
      else if (s_axis_tvalid && s_axis_tready) left <= COUNT_W'(PARTS);
      else if (m_axis_tvalid && m_axis_tready) left <= left - 1'b1;
    end
  end else if (OUT_LANES % IN_LANES == 0) begin : g_widen
    localparam int unsigned PARTS = OUT_LANES / IN_LANES;
    localparam int unsigned COUNT_W = $clog2(PARTS);

    logic [OUT_W-1:0] held;
    logic [COUNT_W-1:0] have;
    logic full;

    assign m_axis_tdata  = held;
    assign m_axis_tvalid = full;
    assign s_axis_tready = !full || m_axis_tready;

    always_ff @(posedge clk) begin
      if (s_axis_tvalid && s_axis_tready) held <= {s_axis_tdata, held[OUT_W-1:IN_W]};
      if (!rst_n) begin
        have <= '0;
        full <= 1'b0;
      end else if (s_axis_tvalid && s_axis_tready) begin
        have <= (have == COUNT_W'(PARTS - 1)) ? '0 : have + 1'b1;
        full <= (have == COUNT_W'(PARTS - 1));
      end else if (m_axis_tready) begin
        full <= 1'b0;
      end
    end
  end else begin : g_general
    // All counts are multiples of the greatest common divisor, so the buffer counts in units of it.
    localparam int unsigned UNIT = gcd(IN_LANES, OUT_LANES);
    localparam int unsigned UNIT_W = UNIT * ELEMENT_W;
    localparam int unsigned IN_UNITS = IN_LANES / UNIT;
    localparam int unsigned OUT_UNITS = OUT_LANES / UNIT;
    localparam int unsigned UNITS = IN_UNITS + OUT_UNITS - 1;
    localparam int unsigned COUNT_W = $clog2(UNITS + 1);
    localparam int unsigned HELD_W = UNITS * UNIT_W;

    logic [HELD_W-1:0] held, rest;
    logic [COUNT_W-1:0] have, remain;
    logic push, pop;

    assign m_axis_tdata  = held[OUT_W-1:0];
    assign m_axis_tvalid = (have >= COUNT_W'(OUT_UNITS));
    assign pop           = m_axis_tvalid && m_axis_tready;
    assign remain        = pop ? have - COUNT_W'(OUT_UNITS) : have;
    assign rest          = pop ? held >> OUT_W : held;
    assign s_axis_tready = (remain < COUNT_W'(OUT_UNITS));
    assign push          = s_axis_tvalid && s_axis_tready;

    // Positions above `remain` hold zeros, so that a new beat can be merged by OR.
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        have <= '0;
        held <= '0;
      end else if (push) begin
        have <= remain + COUNT_W'(IN_UNITS);
        held <= rest | (HELD_W'(s_axis_tdata) << (32'(remain) * UNIT_W));
      end else begin
        have <= remain;
        held <= rest;
      end
    end
  end

endmodule

`default_nettype wire
