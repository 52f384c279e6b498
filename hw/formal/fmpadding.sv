/// What bnn_fmpadding promises: the inner pixels in order between the border's, none lost, doubled or invented.
///
/// The output position is counted here; the unit holds one beat at most, so an inner output is the last one taken.
`default_nettype none

module fmpadding #(
    /// 1: ±1 inputs become two bits of two's complement.
    parameter  bit          TERNARY   = 1'b0,
    /// Bits of one input element [bits].
    parameter  int unsigned ELEMENT_W = 2,
    /// Channels of a pixel, one a beat.
    parameter  int unsigned CHANNELS  = 2,
    /// Rows of the input [pixels].
    parameter  int unsigned HEIGHT    = 2,
    /// Columns of the input [pixels].
    parameter  int unsigned WIDTH     = 2,
    /// Rows added above [pixels].
    parameter  int unsigned TOP       = 1,
    /// Columns added on the left [pixels].
    parameter  int unsigned LEFT      = 1,
    /// Rows added below [pixels].
    parameter  int unsigned BOTTOM    = 1,
    /// Columns added on the right [pixels].
    parameter  int unsigned RIGHT     = 1,
    /// What a border element holds.
    parameter  int          VALUE     = 1,
    /// Bits of one output element [bits]; derived.
    localparam int unsigned OUT_W     = TERNARY ? 2 : ELEMENT_W
) (
    input wire logic                 clk,
    input wire logic                 rst_n,
    input wire logic [ELEMENT_W-1:0] s_axis_tdata,
    input wire logic                 s_axis_tvalid,
    input wire logic                 m_axis_tready
);

  localparam int unsigned COUNT_W = 8;

  logic s_axis_tready, m_axis_tvalid, push, pop, inner, ends;
  logic [OUT_W-1:0] m_axis_tdata, taken;
  // Position of the next output.
  logic [COUNT_W-1:0] channel, x, y;
  logic begun = 1'b0;
  logic held;

  bnn_fmpadding #(
      .ELEMENT_W(ELEMENT_W),
      .TERNARY  (TERNARY),
      .CHANNELS (CHANNELS),
      .LANES    (1),
      .HEIGHT   (HEIGHT),
      .WIDTH    (WIDTH),
      .TOP      (TOP),
      .LEFT     (LEFT),
      .BOTTOM   (BOTTOM),
      .RIGHT    (RIGHT),
      .VALUE    (VALUE)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(OUT_W)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axis_tdata),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop = m_axis_tvalid && m_axis_tready;
  assign inner = (y >= COUNT_W'(TOP)) && (y < COUNT_W'(TOP + HEIGHT)) && (x >= COUNT_W'(LEFT)) &&
      (x < COUNT_W'(LEFT + WIDTH));
  assign ends = (channel == COUNT_W'(CHANNELS - 1));

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (push) taken <= TERNARY ? {!s_axis_tdata[0], 1'b1} : OUT_W'(s_axis_tdata);
    if (!rst_n) begin
      channel <= '0;
      x       <= '0;
      y       <= '0;
      held    <= 1'b0;
    end else begin
      held <= push || (held && !(pop && inner));
      if (pop) begin
        channel <= ends ? '0 : channel + 1'b1;
        if (ends) x <= (x == COUNT_W'(LEFT + WIDTH + RIGHT - 1)) ? '0 : x + 1'b1;
        if (ends && x == COUNT_W'(LEFT + WIDTH + RIGHT - 1)) begin
          y <= (y == COUNT_W'(TOP + HEIGHT + BOTTOM - 1)) ? '0 : y + 1'b1;
        end
      end
    end
  end

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else begin
        if (m_axis_tvalid) assert (held == inner);
        // A beat is taken when none is held, or when the held one leaves.
        if (push) assert (!held || (pop && inner));
        if (held) assert (m_axis_tvalid);
        if (m_axis_tvalid) assert (m_axis_tdata == (inner ? taken : OUT_W'(VALUE)));
      end
  end

endmodule

`default_nettype wire
