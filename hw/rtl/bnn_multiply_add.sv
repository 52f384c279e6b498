/// Dot product of one slice: integer weights with ±1 or integer inputs. Purely combinational.
///
/// `sum` is the dot product in two's complement. A ±1 input adds or subtracts its weight.
`default_nettype none

module bnn_multiply_add #(
    /// Inputs of the slice [elements], >= 1.
    parameter  int unsigned SIMD       = 4,
    /// Bits of one weight, two's complement [bits], 2 to 8.
    parameter  int unsigned WEIGHT_W   = 8,
    /// Bits of one input [bits], 1 to 32; 1 when IN_BIPOLAR.
    parameter  int unsigned IN_W       = 8,
    /// 1: inputs are ±1, bit 1 = +1. 0: inputs are IN_W-bit integers.
    parameter  bit          IN_BIPOLAR = 1'b0,
    /// 1: integer inputs are two's complement.
    parameter  bit          IN_SIGNED  = 1'b0,
    /// Bits of the sum [bits]; derived.
    localparam int unsigned SUM_W      = IN_W + WEIGHT_W + $clog2(SIMD + 1)
) (
    /// Bits [i * WEIGHT_W +: WEIGHT_W] are the weight of input i.
    input  wire logic [SIMD*WEIGHT_W-1:0] weights,
    /// Bit b * SIMD + i is bit b of input i, as in bnn_dot.
    input  wire logic [    IN_W*SIMD-1:0] planes,
    output wire logic [        SUM_W-1:0] sum
);

  if (SIMD < 1 || WEIGHT_W < 2 || WEIGHT_W > 8) begin : g_illegal
    $error("bnn_multiply_add: SIMD %0d must be at least 1, WEIGHT_W %0d from 2 to 8", SIMD, WEIGHT_W);
  end

  logic [SIMD*SUM_W-1:0] products;
  logic [SUM_W-1:0] total;

  for (genvar i = 0; i < SIMD; i++) begin : g_element
    logic signed [WEIGHT_W-1:0] weight;

    assign weight = weights[i*WEIGHT_W+:WEIGHT_W];
    if (IN_BIPOLAR) begin : g_bipolar
      assign products[i*SUM_W+:SUM_W] = planes[i] ? SUM_W'(weight) : -SUM_W'(weight);
    end else begin : g_integer
      // A bit more than the input, so that unsigned ones stay positive.
      logic signed [IN_W:0] x;

      for (genvar b = 0; b < IN_W; b++) begin : g_bit
        assign x[b] = planes[b*SIMD+i];
      end
      assign x[IN_W] = IN_SIGNED && planes[(IN_W-1)*SIMD+i];
      assign products[i*SUM_W+:SUM_W] = SUM_W'(weight) * SUM_W'(x);
    end
  end

  always_comb begin
    total = '0;
    for (int unsigned i = 0; i < SIMD; i++) total = total + products[i*SUM_W+:SUM_W];
  end
  assign sum = total;

endmodule

`default_nettype wire
