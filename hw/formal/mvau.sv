/// What bnn_mvau promises: threshold(W x), or W x + offset, for every frame, in order, none lost.
///
/// W is read from the unit's own memory files. A frame picked at any moment is followed: the dot products of all
/// neurons are summed up as its beats enter, and its NF output beats are those after the `ahead` ones due before.
`default_nettype none

module mvau #(
    /// Inputs of a neuron [elements].
    parameter  int unsigned MW           = 4,
    /// Neurons [elements].
    parameter  int unsigned MH           = 4,
    /// Inputs taken a cycle [elements].
    parameter  int unsigned SIMD         = 2,
    /// Neurons computed side by side [elements].
    parameter  int unsigned PE           = 2,
    /// Bits of one input [bits].
    parameter  int unsigned IN_W         = 1,
    /// 1: inputs are ±1.
    parameter  bit          IN_BIPOLAR   = 1'b1,
    /// 1: integer inputs are two's complement.
    parameter  bit          IN_SIGNED    = 1'b0,
    /// 1: thresholds follow the accumulator.
    parameter  bit          THRESHOLD_EN = 1'b1,
    /// Bits of one output [bits].
    parameter  int unsigned OUT_W        = 1,
    /// Bits of an accumulator and a threshold [bits]; derived.
    localparam int unsigned ACC_W        = IN_BIPOLAR ? $clog2(MW + 2) : IN_W + $clog2(MW + 1) + 1
) (
    input wire logic                 clk,
    input wire logic                 rst_n,
    input wire logic [SIMD*IN_W-1:0] s_axis_tdata,
    input wire logic                 s_axis_tvalid,
    input wire logic                 m_axis_tready,
    /// High where the frame that starts may be the one to follow.
    input wire logic                 pick
);

  localparam int unsigned SF = MW / SIMD;
  localparam int unsigned NF = MH / PE;
  localparam int unsigned PARAM_W = THRESHOLD_EN ? ACC_W : OUT_W;
  // Bits of a dot product and of what it is compared with, with room to spare.
  localparam int unsigned DOT_W = ACC_W + 3;
  // The pipeline holds few frames; more than fit this count would wrap and break an assertion.
  localparam int unsigned COUNT_W = $clog2(8 * NF + 1);
  localparam int unsigned SF_W = $clog2(SF + 1);

  logic [PE*SIMD-1:0] weights[SF*NF];
  logic [PE*PARAM_W-1:0] params[NF];
  logic s_axis_tready, m_axis_tvalid, push, pop, first, last, taken;
  logic [PE*OUT_W-1:0] m_axis_tdata;
  logic [SF_W-1:0] beat;
  logic [COUNT_W-1:0] due, ahead, group;
  logic [MH*DOT_W-1:0] dots, sums;
  logic [MH*OUT_W-1:0] expected;
  logic begun = 1'b0;
  logic following, filled;

  initial $readmemh("weights.mem", weights);
  initial $readmemh("params.mem", params);

  bnn_mvau #(
      .MW          (MW),
      .MH          (MH),
      .SIMD        (SIMD),
      .PE          (PE),
      .IN_W        (IN_W),
      .IN_BIPOLAR  (IN_BIPOLAR),
      .IN_SIGNED   (IN_SIGNED),
      .THRESHOLD_EN(THRESHOLD_EN),
      .OUT_W       (OUT_W),
      .WEIGHT_FILE ("weights.mem"),
      .PARAM_FILE  ("params.mem")
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(PE * OUT_W)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axis_tdata),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  assign push  = s_axis_tvalid && s_axis_tready;
  assign pop   = m_axis_tvalid && m_axis_tready;
  assign first = (beat == '0);
  assign last  = (beat == SF_W'(SF - 1));
  // The beat belongs to the followed frame.
  assign taken = push && (following ? !filled : (first && pick));

  for (genvar row = 0; row < MH; row++) begin : g_row
    localparam int unsigned GROUP = row / PE;
    localparam int unsigned LANE = row % PE;
    logic [PE*PARAM_W-1:0] fields;
    logic [PARAM_W-1:0] field;
    logic [PE*SIMD-1:0] signs;
    logic signed [DOT_W-1:0] x, dot, bound;

    assign fields = params[GROUP];
    assign field  = fields[LANE*PARAM_W+:PARAM_W];
    assign signs  = weights[32'(GROUP*SF)+32'(beat)];
    always_comb begin
      dot = first ? '0 : sums[row*DOT_W+:DOT_W];
      for (int unsigned i = 0; i < SIMD; i++) begin
        x = DOT_W'(s_axis_tdata[i*IN_W+:IN_W]);
        if (IN_SIGNED && x[IN_W-1]) x = x - (DOT_W'(1) << IN_W);
        if (IN_BIPOLAR) x = x[0] ? DOT_W'(1) : '1;
        dot = signs[LANE*SIMD+i] ? dot + x : dot - x;
      end
    end
    assign dots[row*DOT_W+:DOT_W] = dot;
    if (!THRESHOLD_EN) begin : g_raw
      // For ±1 inputs the offset in the memory includes -MW, which belongs to the count, not to the dot product.
      assign bound = sums[row*DOT_W+:DOT_W] + (IN_BIPOLAR ? DOT_W'(MW) : '0);
      assign expected[row*OUT_W+:OUT_W] = OUT_W'(bound) + field;
    end else begin : g_threshold
      // A threshold on the count c of agreeing inputs is one on the dot product 2 c - MW.
      assign bound = IN_BIPOLAR ? (DOT_W'(field) << 1) - DOT_W'(MW) : DOT_W'($signed(field));
      assign expected[row*OUT_W+:OUT_W] = OUT_W'($signed(sums[row*DOT_W+:DOT_W]) >= bound);
    end
  end

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (taken) sums <= dots;
    if (!rst_n) begin
      beat      <= '0;
      due       <= '0;
      following <= 1'b0;
      filled    <= 1'b0;
    end else begin
      if (push) beat <= last ? '0 : beat + 1'b1;
      due <= due + ((push && last) ? COUNT_W'(NF) : '0) - COUNT_W'(pop);
      if (taken) begin
        following <= 1'b1;
        filled    <= last;
      end
      if (!following) begin
        ahead <= due - COUNT_W'(pop);
        group <= '0;
      end else if (pop && ahead != '0) begin
        ahead <= ahead - 1'b1;
      end else if (pop) begin
        group <= group + 1'b1;
        if (group == COUNT_W'(NF - 1)) begin
          following <= 1'b0;
          filled    <= 1'b0;
        end
      end
    end
  end

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else begin
        assert (due <= COUNT_W'(7 * NF));
        if (m_axis_tvalid) assert (due != '0);
        if (following && pop && ahead == '0) begin
          assert (filled);
          for (int unsigned g = 0; g < NF; g++) begin
            if (group == COUNT_W'(g)) assert (m_axis_tdata == expected[g*PE*OUT_W+:PE*OUT_W]);
          end
        end
      end
  end

endmodule

`default_nettype wire
