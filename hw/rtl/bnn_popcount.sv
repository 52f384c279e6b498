/// Counts the ones of a vector. Purely combinational.
///
/// It is a module of its own so that a better compressor tree replaces every popcount of the design at once;
/// the sum of bits written here is the form that synthesis tools and simulators know best.
`default_nettype none

module bnn_popcount #(
    /// Bits to count [bits], >= 1.
    parameter  int unsigned WIDTH   = 8,
    /// Bits of the count [bits]; derived.
    localparam int unsigned COUNT_W = $clog2(WIDTH + 1)
) (
    input  wire logic [  WIDTH-1:0] bits,
    output wire logic [COUNT_W-1:0] count
);

  if (WIDTH < 1) begin : g_illegal_width
    $error("bnn_popcount: WIDTH is %0d, it must be at least 1", WIDTH);
  end

  assign count = COUNT_W'($countones(bits));

endmodule

`default_nettype wire
