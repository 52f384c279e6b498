/// Dot product of one slice: ±1 weights with ±1 or integer inputs, reduced to popcounts. Purely combinational.
///
/// IN_BIPOLAR = 1: `sum` is the number of positions where input and weight agree, popcount(weights XNOR inputs);
///   the ±1 dot product is 2 * sum - SIMD.
/// IN_BIPOLAR = 0: `sum` is the sum of the inputs whose weight is +1, computed bit plane by bit plane:
///   sum over b of 2^b * popcount(weights AND plane b), the top plane counting negative when IN_SIGNED. With
///   `total` = the sum of all inputs, the ±1 dot product is 2 * sum - total.
///
/// Unless IN_SIGNED, three weights and their inputs make a number of two bits, and all those are added at once. With
///   VERILATOR defined it is written as plain popcounts, which simulate faster.
`default_nettype none (* keep_hierarchy = "yes" *)
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

`ifdef VERILATOR
  localparam bit PLAIN = 1'b1;
`else
  localparam bit PLAIN = !IN_BIPOLAR && IN_SIGNED;
`endif
  localparam int unsigned COUNT_W = $clog2(SIMD + 1);

  if (!PLAIN) begin : g_matches
    // A plane has GROUPS numbers of two bits, and a single bit where one input is left over.
    localparam int unsigned GROUPS = (SIMD + 1) / 3;
    localparam int unsigned SINGLE = (SIMD % 3 == 1) ? 1 : 0;
    localparam int unsigned ONES = GROUPS + SINGLE;
    localparam int unsigned WIDTH = IN_W * (ONES + GROUPS);

    // Column b + 1 begins with the upper bits of plane b, then come the lower bits of plane b + 1.
    function automatic logic [(IN_W+1)*16-1:0] heights();
      heights = '0;
      for (int unsigned b = 0; b <= IN_W; b++) begin
        heights[b*16+:16] = 16'(((b > 0) ? GROUPS : 0) + ((b < IN_W) ? ONES : 0));
      end
    endfunction

    logic [WIDTH-1:0] bits;

    for (genvar b = 0; b < IN_W; b++) begin : g_plane
      for (genvar g = 0; g < GROUPS; g++) begin : g_group
        localparam int unsigned N = (g * 3 + 3 <= SIMD) ? 3 : 2;

        // A missing third pair does not match.
        bnn_match3 #(
            .AGREE(IN_BIPOLAR)
        ) u_match3 (
            .a    ((N == 3) ? weights[g*3+:N] : {1'b0, weights[g*3+:N]}),
            .b    ((N == 3) ? planes[b*SIMD+g*3+:N] : {IN_BIPOLAR, planes[b*SIMD+g*3+:N]}),
            .count({bits[b*(ONES+GROUPS)+ONES+g], bits[b*(ONES+GROUPS)+g]})
        );
      end
      if (SINGLE == 1) begin : g_single
        assign bits[b*(ONES+GROUPS)+GROUPS] = IN_BIPOLAR ? weights[SIMD-1] ~^ planes[b*SIMD+SIMD-1] :
            weights[SIMD-1] & planes[b*SIMD+SIMD-1];
      end
    end

    bnn_compress #(
        .COLUMNS(IN_W + 1),
        .HEIGHTS(heights()),
        .WIDTH  (WIDTH),
        .SUM_W  (SUM_W)
    ) u_compress (
        .bits(bits),
        .sum (sum)
    );
  end else if (IN_BIPOLAR) begin : g_bipolar
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
