/// What bnn_add promises: beats are taken in pairs, and every pair leaves once as its sum.
`default_nettype none

module add #(
    /// Elements of a beat.
    parameter int unsigned LANES       = 1,
    /// Bits of an element of input 0 [bits].
    parameter int unsigned IN0_W       = 2,
    /// 1: elements of input 0 are ±1.
    parameter bit          IN0_BIPOLAR = 1'b0,
    /// 1: elements of input 0 are two's complement.
    parameter bit          IN0_SIGNED  = 1'b0,
    /// Bits of an element of input 1 [bits].
    parameter int unsigned IN1_W       = 2,
    /// 1: elements of input 1 are ±1.
    parameter bit          IN1_BIPOLAR = 1'b0,
    /// 1: elements of input 1 are two's complement.
    parameter bit          IN1_SIGNED  = 1'b0,
    /// Bits of an element of the sum [bits].
    parameter int unsigned OUT_W       = 3
) (
    input wire logic                   clk,
    input wire logic                   rst_n,
    input wire logic [LANES*IN0_W-1:0] s0_axis_tdata,
    input wire logic                   s0_axis_tvalid,
    input wire logic [LANES*IN1_W-1:0] s1_axis_tdata,
    input wire logic                   s1_axis_tvalid,
    input wire logic                   m_axis_tready
);

  logic s0_axis_tready, s1_axis_tready, m_axis_tvalid, take, pop;
  logic [LANES*OUT_W-1:0] m_axis_tdata, expected;
  logic stored;
  logic begun = 1'b0;

  bnn_add #(
      .LANES      (LANES),
      .IN0_W      (IN0_W),
      .IN0_BIPOLAR(IN0_BIPOLAR),
      .IN0_SIGNED (IN0_SIGNED),
      .IN1_W      (IN1_W),
      .IN1_BIPOLAR(IN1_BIPOLAR),
      .IN1_SIGNED (IN1_SIGNED),
      .OUT_W      (OUT_W)
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

  assign take = s0_axis_tvalid && s0_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    logic [IN0_W-1:0] x0;
    logic [IN1_W-1:0] x1;
    logic [31:0] a0, a1, sum;

    // The value of two's complement: as if unsigned, less 2**W where the top bit is set.
    assign x0  = s0_axis_tdata[lane*IN0_W+:IN0_W];
    assign x1  = s1_axis_tdata[lane*IN1_W+:IN1_W];
    assign a0  = IN0_BIPOLAR ? 2 * 32'(x0) - 1 : 32'(x0) - ((IN0_SIGNED && x0[IN0_W-1]) ? 32'd1 << IN0_W : 0);
    assign a1  = IN1_BIPOLAR ? 2 * 32'(x1) - 1 : 32'(x1) - ((IN1_SIGNED && x1[IN1_W-1]) ? 32'd1 << IN1_W : 0);
    assign sum = a0 + a1;

    always_ff @(posedge clk) if (take) expected[lane*OUT_W+:OUT_W] <= sum[OUT_W-1:0];
  end

  always_ff @(posedge clk) begin
    begun  <= 1'b1;
    stored <= rst_n && (take || (stored && !pop));
  end

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else begin
        assert (take == (s1_axis_tvalid && s1_axis_tready));
        assert (take == (s0_axis_tvalid && s1_axis_tvalid && (!stored || pop)));
        assert (m_axis_tvalid == stored);
        if (stored) assert (m_axis_tdata == expected);
      end
  end

endmodule

`default_nettype wire
