/// What bnn_popcount and bnn_dot promise, for all weights and inputs: the count is the sum of the bits, and
/// twice the dot product's sum, less SIMD or the sum of all inputs, is the product of the ±1 weights and the inputs.
`default_nettype none

module dot #(
    /// Inputs of the slice [elements].
    parameter int unsigned SIMD       = 4,
    /// Bits of one input [bits].
    parameter int unsigned IN_W       = 1,
    /// 1: inputs are ±1.
    parameter bit          IN_BIPOLAR = 1'b1,
    /// 1: integer inputs are two's complement.
    parameter bit          IN_SIGNED  = 1'b0
) (
    input wire logic [     SIMD-1:0] weights,
    input wire logic [IN_W*SIMD-1:0] planes
);

  localparam int unsigned COUNT_W = $clog2(SIMD + 1);
  localparam int unsigned SUM_W = COUNT_W + (IN_BIPOLAR ? 0 : IN_W);
  // Holds every sum that is compared, with its sign.
  localparam int unsigned WIDE_W = SUM_W + 3;

  logic [COUNT_W-1:0] count;
  logic [  SUM_W-1:0] sum;
  logic [WIDE_W-1:0] ones, total, product, doubled, x;

  bnn_popcount #(
      .WIDTH(SIMD)
  ) u_popcount (
      .bits (weights),
      .count(count)
  );
  bnn_dot #(
      .SIMD      (SIMD),
      .IN_W      (IN_W),
      .IN_BIPOLAR(IN_BIPOLAR),
      .IN_SIGNED (IN_SIGNED)
  ) u_dot (
      .*
  );

  always_comb begin
    ones    = '0;
    total   = '0;
    product = '0;
    for (int unsigned i = 0; i < SIMD; i++) begin
      x = '0;
      for (int unsigned b = 0; b < IN_W; b++) x[b] = planes[b*SIMD+i];
      if (IN_SIGNED && planes[(IN_W-1)*SIMD+i]) x = x - (WIDE_W'(1) << IN_W);
      if (IN_BIPOLAR) x = x[0] ? WIDE_W'(1) : '1;
      ones    = ones + WIDE_W'(weights[i]);
      total   = total + (IN_BIPOLAR ? WIDE_W'(1) : x);
      product = weights[i] ? product + x : product - x;
    end
    doubled = (IN_SIGNED ? WIDE_W'($signed(sum)) : WIDE_W'(sum)) << 1;
    assert (WIDE_W'(count) == ones);
    assert (doubled - total == product);
  end

endmodule

`default_nettype wire
