// What primitives of AMD's 7 series do in simulation, written from the vendor's guides to libraries (UG953) and to
// memories (UG473): look-up tables and the carry chain in a form that Verilator orders without loops, and what the
// block RAMs have in common, of which Yosys has no model. Ports and parameters of the primitives are the vendor's.
`default_nettype none

module LUT1 #(
    parameter logic [1:0] INIT = '0
) (
    output wire logic O,
    input  wire logic I0
);
  assign O = INIT[I0];
endmodule

module LUT2 #(
    parameter logic [3:0] INIT = '0
) (
    output wire logic O,
    input  wire logic I0,
    input  wire logic I1
);
  assign O = INIT[{I1, I0}];
endmodule

module LUT3 #(
    parameter logic [7:0] INIT = '0
) (
    output wire logic O,
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic I2
);
  assign O = INIT[{I2, I1, I0}];
endmodule

module LUT4 #(
    parameter logic [15:0] INIT = '0
) (
    output wire logic O,
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic I2,
    input  wire logic I3
);
  assign O = INIT[{I3, I2, I1, I0}];
endmodule

module LUT5 #(
    parameter logic [31:0] INIT = '0
) (
    output wire logic O,
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic I2,
    input  wire logic I3,
    input  wire logic I4
);
  assign O = INIT[{I4, I3, I2, I1, I0}];
endmodule

module LUT6 #(
    parameter logic [63:0] INIT = '0
) (
    output wire logic O,
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic I2,
    input  wire logic I3,
    input  wire logic I4,
    input  wire logic I5
);
  assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule

/// Four bits of a carry chain. Each bit is a wire of its own: a chain may lead through logic back into its own cell.
module CARRY4 (
    output wire logic [3:0] CO  /*verilator split_var*/,
    output wire logic [3:0] O  /*verilator split_var*/,
    input  wire logic       CI,
    input  wire logic       CYINIT,
    input  wire logic [3:0] DI  /*verilator split_var*/,
    input  wire logic [3:0] S                             /*verilator split_var*/
);
  logic first, second, third, fourth;

  assign first  = CI | CYINIT;
  assign second = S[0] ? first : DI[0];
  assign third  = S[1] ? second : DI[1];
  assign fourth = S[2] ? third : DI[2];
  assign CO[0]  = second;
  assign CO[1]  = third;
  assign CO[2]  = fourth;
  assign CO[3]  = S[3] ? fourth : DI[3];
  assign O[0]   = S[0] ^ first;
  assign O[1]   = S[1] ^ second;
  assign O[2]   = S[2] ^ third;
  assign O[3]   = S[3] ^ fourth;
endmodule

/// The cells of a block RAM with its two ports, 0 and 1, for widths of 1, 2, 4 and multiples of 9 bits.
///
/// Nine bits are a byte and its parity. A byte that one port reads while the other writes it comes out inverted,
/// unless the writing port reads first: hardware promises nothing there, and a netlist may not depend on it.
/// What is not modelled is refused: a port that reads what it writes in the same cycle, and values after a reset.
module block_ram #(
    /// Bits of the address of a single bit: 14 for 18 kbit, 15 for 36 kbit.
    parameter int unsigned                     ADDR_W         = 14,
    /// Bytes of the widest port.
    parameter int unsigned                     BYTES          = 4,
    parameter logic        [    2**ADDR_W-1:0] DATA           = '0,
    parameter logic        [2**(ADDR_W-3)-1:0] PARITY         = '0,
    /// Bits of a word that each port reads and writes; 0 where it does not.
    parameter int unsigned                     READ_WIDTH [2] = '{0, 0},
    parameter int unsigned                     WRITE_WIDTH[2] = '{0, 0},
    /// 1: the port reads what was there before it writes. 1: its output stays while it writes.
    parameter bit                              READ_FIRST [2] = '{0, 0},
    parameter bit                              NO_CHANGE  [2] = '{0, 0}
) (
    input  wire logic               clk   [2],
    input  wire logic               enable[2],
    input  wire logic               reset [2],
    input  wire logic [ ADDR_W-1:0] addr  [2],
    input  wire logic [  BYTES-1:0] write [2],
    input  wire logic [8*BYTES-1:0] din   [2],
    input  wire logic [  BYTES-1:0] dinp  [2],
    output logic      [8*BYTES-1:0] dout  [2],
    output logic      [  BYTES-1:0] doutp [2]
);
  localparam int unsigned INDEX_W = ADDR_W - 3;

  logic [8:0] cells[2**INDEX_W];
  // The first byte that a port writes in this cycle, and how many.
  logic [INDEX_W-1:0] write_base[2];
  logic [BYTES-1:0] writes[2];

  initial for (int i = 0; i < 2 ** INDEX_W; i++) cells[i] = {PARITY[i], DATA[8*i+:8]};

  for (genvar p = 0; p < 2; p++) begin : g_port
    localparam int unsigned READ_BYTES = (READ_WIDTH[p] < 9) ? 1 : READ_WIDTH[p] / 9;
    localparam int unsigned WRITE_BYTES = (WRITE_WIDTH[p] < 9) ? 1 : WRITE_WIDTH[p] / 9;

    if (READ_WIDTH[p] != 0 && WRITE_WIDTH[p] != 0 && !READ_FIRST[p] && !NO_CHANGE[p]) begin : g_write_first
      $error("block_ram: a port that reads what it writes in the same cycle is not modelled");
    end

    logic [INDEX_W-1:0] index, read_base;
    logic [BYTES-1:0] hidden;

    assign index = addr[p][ADDR_W-1:3];
    assign read_base = index & ~INDEX_W'(READ_BYTES - 1);
    assign write_base[p] = index & ~INDEX_W'(WRITE_BYTES - 1);
    assign writes[p] = (enable[p] && WRITE_WIDTH[p] != 0) ? write[p] & BYTES'((1 << WRITE_BYTES) - 1) : '0;

    always_comb begin
      hidden = '0;
      for (int unsigned k = 0; k < READ_BYTES; k++) begin
        for (int unsigned w = 0; w < BYTES; w++) begin
          if (writes[1-p][w] && write_base[1-p] + INDEX_W'(w) == read_base + INDEX_W'(k))
            hidden[k] = !READ_FIRST[1-p];
        end
      end
    end

    always_ff @(posedge clk[p]) begin
      if (WRITE_WIDTH[p] >= 9) begin
        for (int unsigned k = 0; k < WRITE_BYTES; k++) begin
          if (writes[p][k]) cells[write_base[p]+INDEX_W'(k)] <= {dinp[p][k], din[p][8*k+:8]};
        end
      end else if (WRITE_WIDTH[p] != 0) begin
        if (writes[p][0]) begin
          for (int unsigned b = 0; b < WRITE_WIDTH[p]; b++) begin
            cells[index][(addr[p][2:0]&~3'(WRITE_WIDTH[p]-1))+3'(b)] <= din[p][b];
          end
        end
      end
      if (enable[p] && reset[p]) begin
        dout[p]  <= '0;
        doutp[p] <= '0;
      end else if (enable[p] && !(NO_CHANGE[p] && writes[p] != '0)) begin
        if (READ_WIDTH[p] >= 9) begin
          for (int unsigned k = 0; k < READ_BYTES; k++) begin
            {doutp[p][k], dout[p][8*k+:8]} <= cells[read_base+INDEX_W'(k)] ^ {9{hidden[k]}};
          end
        end else if (READ_WIDTH[p] != 0) begin
          for (int unsigned b = 0; b < READ_WIDTH[p]; b++) begin
            dout[p][b] <= cells[index][(addr[p][2:0]&~3'(READ_WIDTH[p]-1))+3'(b)] ^ hidden[0];
          end
        end
      end
    end
  end
endmodule

`default_nettype wire
