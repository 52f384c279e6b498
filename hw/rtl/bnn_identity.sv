/// Read-only registers that say which circuit this is, and for how many cycles it has run.
///
/// Words of 32 bits, by byte address:
///   0x10 MAGIC     0x42495453, "BITS".
///   0x14 VERSION   1: the register map.
///   0x18, 0x1C     clock cycles since the reset, low and high word. Reading the low one keeps the high one that goes
///                  with it, so read it first.
///   0x20 to 0x3C   DIGEST, byte 0 in the low bits of the first word.
/// All others read as 0. A soft reset does not reach it.
///
/// Latency: `rdata` is combinational.
/// II: 1 cycle.
`default_nettype none

module bnn_identity #(
    /// Digest of the design, byte 0 in the low bits.
    parameter bit [255:0] DIGEST = '0
) (
    input  wire logic        clk,
    input  wire logic        rst_n,
    /// A register is read in this cycle.
    input  wire logic        read,
    /// Word address.
    input  wire logic [ 9:0] word,
    output wire logic [31:0] rdata
);

  localparam logic [9:0] MAGIC = 10'h004;
  localparam logic [9:0] VERSION = 10'h005;
  localparam logic [9:0] CYCLES_LOW = 10'h006;
  localparam logic [9:0] CYCLES_HIGH = 10'h007;
  localparam logic [6:0] DIGEST_PAGE = 7'h01;

  logic [63:0] cycles;
  logic [31:0] high, value;

  assign rdata = value;

  always_comb begin
    case (word)
      MAGIC:       value = 32'h4249_5453;
      VERSION:     value = 32'd1;
      CYCLES_LOW:  value = cycles[31:0];
      CYCLES_HIGH: value = high;
      default:     value = (word[9:3] == DIGEST_PAGE) ? DIGEST[32*word[2:0]+:32] : '0;
    endcase
  end

  always_ff @(posedge clk) begin
    if (!rst_n) cycles <= '0;
    else cycles <= cycles + 1'b1;
    if (read && word == CYCLES_LOW) high <= cycles[63:32];
  end

endmodule

`default_nettype wire
