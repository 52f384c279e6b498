/// What bnn_thresholding promises: OUT_BIAS + the number of thresholds <= x for every element, in order, none lost.
///
/// The output of a beat picked at any moment is worked out when it enters; the unit holds one beat at most.
`default_nettype none

module thresholding #(
    /// Elements of a beat.
    parameter int unsigned LANES          = 2,
    /// Bits of one input [bits].
    parameter int unsigned IN_W           = 3,
    /// 1: inputs are two's complement.
    parameter bit          IN_SIGNED      = 1'b0,
    /// Thresholds of an element.
    parameter int unsigned LEVELS         = 3,
    /// Output below the first threshold.
    parameter int          OUT_BIAS       = 0,
    /// Bits of one output [bits].
    parameter int unsigned OUT_W          = 2,
    /// Beats after which the thresholds repeat.
    parameter int unsigned DEPTH          = 3,
    /// Threshold memory file.
    parameter              THRESHOLD_FILE = "thresholds.mem"
) (
    input wire logic                  clk,
    input wire logic                  rst_n,
    input wire logic [LANES*IN_W-1:0] s_axis_tdata,
    input wire logic                  s_axis_tvalid,
    input wire logic                  m_axis_tready
);

  localparam int unsigned T_W = IN_W + 1;
  localparam int unsigned BEAT_W = $clog2(DEPTH + 1);

  logic [LANES*LEVELS*T_W-1:0] thresholds[DEPTH];
  logic [LANES*LEVELS*T_W-1:0] fields;
  logic s_axis_tready, m_axis_tvalid, push, pop;
  logic [LANES*OUT_W-1:0] m_axis_tdata, expected, stored;
  logic [BEAT_W-1:0] beat;
  logic signed [31:0] x, threshold, result;
  logic begun = 1'b0;
  logic full;

  initial $readmemh(THRESHOLD_FILE, thresholds);

  bnn_thresholding #(
      .LANES         (LANES),
      .IN_W          (IN_W),
      .IN_SIGNED     (IN_SIGNED),
      .LEVELS        (LEVELS),
      .OUT_BIAS      (OUT_BIAS),
      .OUT_W         (OUT_W),
      .DEPTH         (DEPTH),
      .THRESHOLD_FILE(THRESHOLD_FILE)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(LANES * OUT_W)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axis_tdata),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  assign push   = s_axis_tvalid && s_axis_tready;
  assign pop    = m_axis_tvalid && m_axis_tready;
  assign fields = thresholds[beat];

  always_comb begin
    for (int unsigned lane = 0; lane < LANES; lane++) begin
      x = 32'(s_axis_tdata[lane*IN_W+:IN_W]);
      if (IN_SIGNED && x[IN_W-1]) x = x - (1 << IN_W);
      result = OUT_BIAS;
      for (int unsigned level = 0; level < LEVELS; level++) begin
        threshold = 32'(fields[(lane*LEVELS+level)*T_W+:T_W]);
        if (IN_SIGNED && threshold[T_W-1]) threshold = threshold - (1 << T_W);
        if (threshold <= x) result = result + 1;
      end
      expected[lane*OUT_W+:OUT_W] = result[OUT_W-1:0];
    end
  end

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (push) stored <= expected;
    if (!rst_n) begin
      full <= 1'b0;
      beat <= '0;
    end else begin
      full <= push || (full && !pop);
      if (push) beat <= (beat == BEAT_W'(DEPTH - 1)) ? '0 : beat + 1'b1;
    end
  end

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else begin
        assert (m_axis_tvalid == full);
        assert (s_axis_tready == (!full || m_axis_tready));
        if (full) assert (m_axis_tdata == stored);
      end
  end

endmodule

`default_nettype wire
