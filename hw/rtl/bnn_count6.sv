/// Counts the ones of six bits: three functions of the same six inputs, so three LUT6. Purely combinational.
///
/// It is kept as it is: mapped together with their neighbours, trees of these counters came out larger.
`default_nettype none (* keep_hierarchy = "yes" *)
module bnn_count6 (
    input  wire logic [5:0] bits,
    output wire logic [2:0] count
);

  // Bit k of a table is the output for the inputs k.
  localparam logic [63:0] ONES = 64'h6996966996696996;
  localparam logic [63:0] TWOS = 64'h8117177E177E7EE8;
  localparam logic [63:0] FOURS = 64'hFEE8E880E8808000;

  assign count = {FOURS[bits], TWOS[bits], ONES[bits]};

endmodule

`default_nettype wire
