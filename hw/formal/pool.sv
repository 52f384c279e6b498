/// What bnn_pool promises: the greatest of each window and channel, in order, none lost, with one channel a beat.
///
/// Any one channel is followed through all windows; the unit holds one output at most.
`default_nettype none

module pool #(
    /// Bits of one element [bits].
    parameter int unsigned ELEMENT_W = 2,
    /// 1: elements are two's complement.
    parameter bit          SIGNED    = 1'b0,
    /// Channels of a pixel.
    parameter int unsigned CHANNELS  = 2,
    /// Pixels of a window.
    parameter int unsigned PIXELS    = 4
) (
    input wire logic                 clk,
    input wire logic                 rst_n,
    input wire logic [ELEMENT_W-1:0] s_axis_tdata,
    input wire logic                 s_axis_tvalid,
    input wire logic                 m_axis_tready
);

  localparam int unsigned COUNT_W = $clog2(CHANNELS + PIXELS + 1);

  (* anyconst *) logic [COUNT_W-1:0] channel;
  logic s_axis_tready, m_axis_tvalid, push, pop, better, done;
  logic [ELEMENT_W-1:0] m_axis_tdata, greatest;
  logic [COUNT_W-1:0] beat, pixel;
  logic begun = 1'b0;
  logic full, ours;

  bnn_pool #(
      .ELEMENT_W(ELEMENT_W),
      .SIGNED   (SIGNED),
      .CHANNELS (CHANNELS),
      .LANES    (1),
      .PIXELS   (PIXELS)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(ELEMENT_W)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axis_tdata),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  assign push   = s_axis_tvalid && s_axis_tready;
  assign pop    = m_axis_tvalid && m_axis_tready;
  assign done   = push && pixel == COUNT_W'(PIXELS - 1);
  assign better = SIGNED ? $signed(s_axis_tdata) > $signed(greatest) : s_axis_tdata > greatest;

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (push && beat == channel && (pixel == '0 || better)) greatest <= s_axis_tdata;
    if (!rst_n) begin
      beat  <= '0;
      pixel <= '0;
      full  <= 1'b0;
    end else begin
      full <= done || (full && !pop);
      if (push) begin
        ours <= (beat == channel);
        beat <= (beat == COUNT_W'(CHANNELS - 1)) ? '0 : beat + 1'b1;
        if (beat == COUNT_W'(CHANNELS - 1)) pixel <= (pixel == COUNT_W'(PIXELS - 1)) ? '0 : pixel + 1'b1;
      end
    end
  end

  always_comb begin
    assume (channel < COUNT_W'(CHANNELS));
    if (!begun)
      assume (!rst_n);
      else begin
        assert (m_axis_tvalid == full);
        assert (s_axis_tready == (!full || m_axis_tready));
        if (full && ours) assert (m_axis_tdata == greatest);
      end
  end

endmodule

`default_nettype wire
