/// Adds bits of different weights: the sum over columns c and their bits b of 2^c * b. Purely combinational.
///
/// Counters of six bits and full adders reduce every column at once until none has more than two bits, and a carry
/// chain adds those. Each stage is one instance of this module, with the next stage inside it.
`default_nettype none

module bnn_compress #(
    /// Columns, >= 1.
    parameter int unsigned COLUMNS = 1,
    /// Bits in each column, >= 0 [bits]: 16-bit fields, column 0 in the least significant one.
    parameter logic [COLUMNS*16-1:0] HEIGHTS = 16'd2,
    /// All bits [bits]: the sum of HEIGHTS.
    parameter int unsigned WIDTH = 2,
    /// Bits of the sum [bits]; it must fit.
    parameter int unsigned SUM_W = 2
) (
    /// Column 0 in the least significant bits, then column 1.
    input  wire logic [WIDTH-1:0] bits,
    output wire logic [SUM_W-1:0] sum
);

  function automatic int unsigned height(input int unsigned column);
    height = (column < COLUMNS) ? 32'(HEIGHTS[column*16+:16]) : 0;
  endfunction

  // Bits in the columns below one.
  function automatic int unsigned below(input int unsigned column);
    below = 0;
    for (int unsigned c = 0; c < column; c++) below = below + height(c);
  endfunction

  // Counters of six bits, the last one perhaps of five, and full adders of a column.
  function automatic int unsigned sixes(input int unsigned column);
    sixes = (height(column) + 1) / 6;
  endfunction

  function automatic int unsigned threes(input int unsigned column);
    threes = (height(column) % 6 == 3 || height(column) % 6 == 4) ? 1 : 0;
  endfunction

  function automatic int unsigned taken(input int unsigned column);
    taken = (height(column) % 6 == 5) ? height(column) : sixes(column) * 6 + threes(column) * 3;
  endfunction

  // Carries into a column: of counters two columns below, then of what is one column below.
  function automatic int unsigned far_carries(input int unsigned column);
    far_carries = (column > 1) ? sixes(column - 2) : 0;
  endfunction

  function automatic int unsigned carries(input int unsigned column);
    carries = far_carries(column);
    if (column > 0) carries = carries + sixes(column - 1) + threes(column - 1);
  endfunction

  // The columns after the stage: carries, sums, and what was not taken.
  function automatic int unsigned next_height(input int unsigned column);
    next_height = carries(column) + sixes(column) + threes(column) + height(column) - taken(column);
  endfunction

  function automatic int unsigned next_below(input int unsigned column);
    next_below = 0;
    for (int unsigned c = 0; c < column; c++) next_below = next_below + next_height(c);
  endfunction

  function automatic int unsigned tallest();
    tallest = 0;
    for (int unsigned c = 0; c < COLUMNS; c++) if (height(c) > tallest) tallest = height(c);
  endfunction

  function automatic logic [(COLUMNS+2)*16-1:0] next_heights();
    next_heights = '0;
    for (int unsigned c = 0; c < COLUMNS + 2; c++) next_heights[c*16+:16] = 16'(next_height(c));
  endfunction

  if (tallest() > 2) begin : g_stage
    localparam int unsigned NEXT_WIDTH = next_below(COLUMNS + 2);

    logic [NEXT_WIDTH-1:0] reduced;

    for (genvar c = 0; c < COLUMNS; c++) begin : g_column
      localparam int unsigned H = height(c);
      localparam int unsigned SIXES = sixes(c);
      localparam int unsigned THREES = threes(c);
      localparam int unsigned LEFT = H - taken(c);
      // Where this column's bits are now, and where its outputs go: first of each kind in their columns.
      localparam int unsigned FROM = below(c);
      localparam int unsigned TO_0 = next_below(c) + carries(c);
      localparam int unsigned TO_1 = next_below(c + 1) + far_carries(c + 1);
      localparam int unsigned TO_2 = next_below(c + 2);

      for (genvar k = 0; k < SIXES; k++) begin : g_six
        localparam int unsigned N = (k * 6 + 6 <= H) ? 6 : 5;

        bnn_count6 u_count6 (
            .bits (6'(bits[FROM+k*6+:N])),
            .count({reduced[TO_2+k], reduced[TO_1+k], reduced[TO_0+k]})
        );
      end
      if (THREES > 0) begin : g_three
        localparam int unsigned AT = FROM + SIXES * 6;

        assign {reduced[TO_1+SIXES], reduced[TO_0+SIXES]} = 2'(bits[AT]) + 2'(bits[AT+1]) + 2'(bits[AT+2]);
      end
      if (LEFT > 0) begin : g_left
        assign reduced[TO_0+SIXES+THREES+:LEFT] = bits[FROM+H-LEFT+:LEFT];
      end
    end

    bnn_compress #(
        .COLUMNS(COLUMNS + 2),
        .HEIGHTS(next_heights()),
        .WIDTH  (NEXT_WIDTH),
        .SUM_W  (SUM_W)
    ) u_next (
        .bits(reduced),
        .sum (sum)
    );
  end else begin : g_add
    logic [SUM_W-1:0] a, b;

    for (genvar c = 0; c < SUM_W; c++) begin : g_column
      if (height(c) > 0) begin : g_a
        assign a[c] = bits[below(c)];
      end else begin : g_no_a
        assign a[c] = 1'b0;
      end
      if (height(c) > 1) begin : g_b
        assign b[c] = bits[below(c)+1];
      end else begin : g_no_b
        assign b[c] = 1'b0;
      end
    end
    assign sum = a + b;
  end

endmodule

`default_nettype wire
