/// Counts the ones of a vector. Purely combinational.
///
/// With VERILATOR defined it is written as a sum of bits, which simulates faster than a tree of counters.
`default_nettype none (* keep_hierarchy = "yes" *)
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

`ifdef VERILATOR
  assign count = COUNT_W'($countones(bits));
`else
  bnn_compress #(
      .COLUMNS(1),
      .HEIGHTS(16'(WIDTH)),
      .WIDTH  (WIDTH),
      .SUM_W  (COUNT_W)
  ) u_compress (
      .bits(bits),
      .sum (count)
  );
`endif

endmodule

`default_nettype wire
