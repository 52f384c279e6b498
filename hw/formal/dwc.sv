/// What bnn_dwc promises: elements leave in order, none is lost, doubled or invented, and it never stops for good.
///
/// An element picked at any moment is followed: `ahead` elements leave before it, so its place in its beat is known.
`default_nettype none

module dwc #(
    /// Bits of one element [bits].
    parameter int unsigned ELEMENT_W = 1,
    /// Elements of an input beat.
    parameter int unsigned IN_LANES  = 4,
    /// Elements of an output beat.
    parameter int unsigned OUT_LANES = 2
) (
    input wire logic                          clk,
    input wire logic                          rst_n,
    input wire logic [IN_LANES*ELEMENT_W-1:0] s_axis_tdata,
    input wire logic                          s_axis_tvalid,
    input wire logic                          m_axis_tready,
    /// High where an element of this beat may be the one to follow.
    input wire logic                          pick
);

  localparam int unsigned MOST = IN_LANES + OUT_LANES;
  localparam int unsigned COUNT_W = $clog2(2 * MOST + 1);
  localparam int unsigned LANE_W = (IN_LANES > 1) ? $clog2(IN_LANES) : 1;

  (* anyconst *) logic [LANE_W-1:0] lane;
  logic s_axis_tready, m_axis_tvalid, push, pop;
  logic [OUT_LANES*ELEMENT_W-1:0] m_axis_tdata, shifted;
  logic [IN_LANES*ELEMENT_W-1:0] entering;
  logic [ELEMENT_W-1:0] element;
  logic [COUNT_W-1:0] stored, rest, ahead;
  logic begun = 1'b0;
  logic following;

  bnn_dwc #(
      .ELEMENT_W(ELEMENT_W),
      .IN_LANES (IN_LANES),
      .OUT_LANES(OUT_LANES)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(OUT_LANES * ELEMENT_W)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axis_tdata),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  assign push     = s_axis_tvalid && s_axis_tready;
  assign pop      = m_axis_tvalid && m_axis_tready;
  assign rest     = pop ? stored - COUNT_W'(OUT_LANES) : stored;
  assign entering = s_axis_tdata >> (32'(lane) * ELEMENT_W);
  assign shifted  = m_axis_tdata >> (32'(ahead) * ELEMENT_W);

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (!rst_n) begin
      stored    <= '0;
      following <= 1'b0;
    end else begin
      stored <= push ? rest + COUNT_W'(IN_LANES) : rest;
      if (!following) begin
        following <= push && pick;
        element   <= entering[ELEMENT_W-1:0];
        ahead     <= rest + COUNT_W'(lane);
      end else if (pop) begin
        following <= (ahead >= COUNT_W'(OUT_LANES));
        ahead     <= ahead - COUNT_W'(OUT_LANES);
      end
    end
  end

  always_comb begin
    assume (32'(lane) < IN_LANES);
    if (!begun)
      assume (!rst_n);
      else begin
        assert (stored < COUNT_W'(MOST));
        assert (m_axis_tvalid == (stored >= COUNT_W'(OUT_LANES)));
        if (stored < COUNT_W'(OUT_LANES)) assert (s_axis_tready);
        if (following && pop && ahead < COUNT_W'(OUT_LANES)) assert (shifted[ELEMENT_W-1:0] == element);
      end
  end

endmodule

`default_nettype wire
