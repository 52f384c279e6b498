/// Dot product of one slice: ±1 weights with ±1 or integer inputs, reduced to popcounts. Purely combinational.
///
/// IN_BIPOLAR = 1: `sum` is the number of positions where input and weight agree, popcount(weights XNOR inputs);
///   the ±1 dot product is 2 * sum - SIMD.
/// IN_BIPOLAR = 0: `sum` is the sum of the inputs whose weight is +1, computed bit plane by bit plane:
///   sum over b of 2^b * popcount(weights AND plane b), the top plane counting negative when IN_SIGNED. With
///   `total` = the sum of all inputs, the ±1 dot product is 2 * sum - total.
`default_nettype none

module bnn_dot #(
    /// Inputs of the slice [elements], >= 1.
    parameter  int unsigned SIMD       = 8,
    /// Bits of one input [bits], 1 to 32; 1 when IN_BIPOLAR.
    parameter  int unsigned IN_W       = 1,
    /// 1: inputs are ±1, bit 1 = +1. 0: inputs are IN_W-bit integers.
    parameter  bit          IN_BIPOLAR = 1'b1,
    /// 1: integer inputs are two's complement.
    parameter  bit          IN_SIGNED  = 1'b0,
    /// Bits of the sum [bits]; derived. Two's complement when IN_SIGNED.
    localparam int unsigned SUM_W      = $clog2(SIMD + 1) + (IN_BIPOLAR ? 0 : IN_W)
) (
    /// Bit i is the weight of input i; 1 = +1.
    input  wire logic [     SIMD-1:0] weights,
    /// Bit b * SIMD + i is bit b of input i: bit planes, so that each popcount reads adjacent bits.
    input  wire logic [IN_W*SIMD-1:0] planes,
    output wire logic [    SUM_W-1:0] sum
);

  localparam int unsigned COUNT_W = $clog2(SIMD + 1);

  if (IN_BIPOLAR) begin : g_bipolar
    logic [COUNT_W-1:0] count;

    bnn_popcount #(
        .WIDTH(SIMD)
    ) u_popcount (
        .bits (weights ~^ planes),
        .count(count)
    );
    assign sum = SUM_W'(count);
  end else begin : g_integer
    logic [IN_W*COUNT_W-1:0] counts;
    logic [SUM_W-1:0] weighted;

    for (genvar b = 0; b < IN_W; b++) begin : g_plane
      bnn_popcount #(
          .WIDTH(SIMD)
      ) u_popcount (
          .bits (weights & planes[b*SIMD+:SIMD]),
          .count(counts[b*COUNT_W+:COUNT_W])
      );
    end
    always_comb begin
      weighted = '0;
      for (int unsigned b = 0; b < IN_W; b++) begin
        if (IN_SIGNED && b == IN_W - 1) weighted = weighted - (SUM_W'(counts[b*COUNT_W+:COUNT_W]) << b);
        else weighted = weighted + (SUM_W'(counts[b*COUNT_W+:COUNT_W]) << b);
      end
    end
    assign sum = weighted;
  end

endmodule

`default_nettype wire
