/// Counts the matches of three pairs of bits: two functions of the same six inputs, so two LUT6. Purely combinational.
///
/// A pair matches when its bits agree (AGREE = 1: XNOR, the product of ±1) or when both are 1 (AGREE = 0: AND).
/// It is kept as it is, like bnn_count6.
`default_nettype none (* keep_hierarchy = "yes" *)
module bnn_match3 #(
    /// 1: bits that agree match. 0: ones match.
    parameter bit AGREE = 1'b1
) (
    input  wire logic [2:0] a,
    input  wire logic [2:0] b,
    output wire logic [1:0] count
);

  logic [2:0] match;

  assign match = AGREE ? a ~^ b : a & b;
  assign count = {(match[0] & match[1]) | (match[0] & match[2]) | (match[1] & match[2]), ^match};

endmodule

`default_nettype wire
