/// Draws the ±1 weights of a matrix anew for each frame: the weight stream of a bnn_mvau.
///
/// A weight is +1 where its random byte is below its mean + 128, so P(+1) = (mean + 128) / 256. The random bytes of
/// row r in frame f are the blocks of bnn_threefry for
///   key     (seed, LAYER)
///   counter (r * ceil(MW / 8) + b, f), b = 0, 1, ..., ceil(MW / 8) - 1,
/// the byte of column c being byte c % 8 of block c / 8, the lowest one first. Frames count from `frame` on, modulo
/// 2**32. A frame needs its weights once for each of its VECTORS, so the same blocks are made VECTORS times.
///
/// Words leave in the order of bnn_mvau's weight memory: word nf * SF + sf, SF = MW / SIMD, holds in bit pe * SIMD + i
/// the weight of row nf * PE + pe and column sf * SIMD + i, 1 for +1.
///
/// A cycle with `restart` throws away what is on its way and begins with the first word of the frame `frame`. Seed and
/// frame must keep their values from that cycle on; the reset does the same.
///
/// Memory, hexadecimal for $readmemh:
///   MEANS_FILE: SF * MH / PE words of PE * SIMD bytes, byte pe * SIMD + i being mean + 128 of that weight.
///
/// Latency: 18 cycles. The first word is valid 18 cycles after the last cycle of a reset or restart, counted as cycle 0
///   the one behind it: from cycle 18 on.
/// II: 1 cycle a word, without a bubble once the first one is there: what comes after waits for m_axis_tready alone.
`default_nettype none

module bnn_draw #(
    /// Columns of the matrix.
    parameter int unsigned MW         = 16,
    /// Rows of the matrix.
    parameter int unsigned MH         = 4,
    /// Columns of a word; divides MW, and divides 8 or is a multiple of 8.
    parameter int unsigned SIMD       = 8,
    /// Rows of a word; divides MH.
    parameter int unsigned PE         = 2,
    /// Times that a frame needs its weights, >= 1.
    parameter int unsigned VECTORS    = 1,
    /// Number of the layer, the second word of the key.
    parameter int unsigned LAYER      = 0,
    /// Memory file of the means.
    parameter              MEANS_FILE = "means.mem"
) (
    input  wire logic               clk,
    input  wire logic               rst_n,
    /// First word of the key.
    input  wire logic [       31:0] seed,
    /// Index of the first frame.
    input  wire logic [       31:0] frame,
    /// 1: begin anew.
    input  wire logic               restart,
    output wire logic [PE*SIMD-1:0] m_axis_tdata,
    output wire logic               m_axis_tvalid,
    input  wire logic               m_axis_tready
);

  localparam int unsigned BYTES = 8;
  localparam int unsigned SF = MW / SIMD;
  localparam int unsigned NF = MH / PE;
  // Blocks of a row, and of it in a word; words that share a block.
  localparam int unsigned BLOCKS = (MW + BYTES - 1) / BYTES;
  localparam int unsigned UNITS = (SIMD > BYTES) ? SIMD / BYTES : 1;
  localparam int unsigned PARTS = (SIMD < BYTES) ? BYTES / SIMD : 1;
  localparam int unsigned STEPS = BLOCKS / UNITS;
  localparam int unsigned DEPTH = SF * NF;
  localparam int unsigned STEP_W = (STEPS > 1) ? $clog2(STEPS) : 1;
  localparam int unsigned NF_W = (NF > 1) ? $clog2(NF) : 1;
  localparam int unsigned VECTOR_W = (VECTORS > 1) ? $clog2(VECTORS) : 1;
  localparam int unsigned SF_W = (SF > 1) ? $clog2(SF) : 1;
  localparam int unsigned ADDR_W = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int unsigned INDEX_W = $clog2(MH * BLOCKS + 1);

  if (SIMD < 1 || MW % SIMD != 0) begin : g_illegal_divisor
    $error("bnn_draw: SIMD %0d must divide MW %0d", SIMD, MW);
  end
  if (SIMD < 1 || (BYTES % SIMD != 0 && SIMD % BYTES != 0)) begin : g_illegal_simd
    $error("bnn_draw: SIMD %0d must divide 8 or be a multiple of 8", SIMD);
  end
  if (PE < 1 || MH % PE != 0) begin : g_illegal_pe
    $error("bnn_draw: PE %0d must divide MH %0d", PE, MH);
  end
  if (VECTORS < 1) begin : g_illegal_vectors
    $error("bnn_draw: VECTORS must be at least 1");
  end

  logic run;

  assign run = rst_n && !restart;

  // Counters: a step takes UNITS blocks of PE rows.
  logic [STEP_W-1:0] step;
  logic [NF_W-1:0] nf;
  logic [VECTOR_W-1:0] vector;
  logic [INDEX_W-1:0] row_block, block;
  logic [31:0] frame_now;
  logic count, step_last, nf_last, vector_last;

  assign step_last   = (step == STEP_W'(STEPS - 1));
  assign nf_last     = (nf == NF_W'(NF - 1));
  assign vector_last = (vector == VECTOR_W'(VECTORS - 1));

  always_ff @(posedge clk) begin
    if (!run) begin
      step      <= '0;
      nf        <= '0;
      vector    <= '0;
      row_block <= '0;
      block     <= '0;
      frame_now <= frame;
    end else if (count) begin
      step  <= step_last ? '0 : step + 1'b1;
      block <= block + INDEX_W'(UNITS);
      if (step_last) begin
        nf        <= nf_last ? '0 : nf + 1'b1;
        row_block <= nf_last ? '0 : row_block + INDEX_W'(PE * BLOCKS);
        block     <= nf_last ? '0 : row_block + INDEX_W'(PE * BLOCKS);
        if (nf_last) vector <= vector_last ? '0 : vector + 1'b1;
        if (nf_last && vector_last) frame_now <= frame_now + 1'b1;
      end
    end
  end

  logic [PE*UNITS*64-1:0] counters, blocks;
  logic blocks_valid, take;

  for (genvar pe = 0; pe < PE; pe++) begin : g_pe
    for (genvar unit = 0; unit < UNITS; unit++) begin : g_unit
      assign counters[(pe*UNITS+unit)*64+:64] = {frame_now, 32'(block) + 32'(pe * BLOCKS + unit)};
    end
  end

  bnn_threefry #(
      .LANES(PE * UNITS)
  ) u_threefry (
      .clk          (clk),
      .rst_n        (run),
      .key_0        (seed),
      .key_1        (32'(LAYER)),
      .s_axis_tdata (counters),
      .s_axis_tvalid(1'b1),
      .s_axis_tready(count),
      .m_axis_tdata (blocks),
      .m_axis_tvalid(blocks_valid),
      .m_axis_tready(take)
  );

  // The bytes of a word beside its means.
  logic [7:0] bytes[PE*SIMD];
  logic [PE*SIMD*8-1:0] means[DEPTH];
  logic [PE*SIMD*8-1:0] means_1;
  logic [SF_W-1:0] sf;
  logic [ADDR_W-1:0] addr;
  logic valid_1, advance, move, sf_last, part_last;

  initial $readmemh(MEANS_FILE, means);

  assign advance = !valid_1 || m_axis_tready;
  assign move    = advance && blocks_valid;
  assign sf_last = (sf == SF_W'(SF - 1));
  assign take    = move && (part_last || sf_last);

  always_ff @(posedge clk) begin
    if (move) means_1 <= means[addr];
    if (!run) begin
      sf      <= '0;
      addr    <= '0;
      valid_1 <= 1'b0;
    end else begin
      if (move) begin
        sf   <= sf_last ? '0 : sf + 1'b1;
        addr <= (addr == ADDR_W'(DEPTH - 1)) ? '0 : addr + 1'b1;
      end
      if (advance) valid_1 <= blocks_valid;
    end
  end

  if (PARTS == 1) begin : g_whole
    assign part_last = 1'b1;
    for (genvar lane = 0; lane < PE * SIMD; lane++) begin : g_lane
      always_ff @(posedge clk) if (move) bytes[lane] <= blocks[lane*8+:8];
    end
  end else begin : g_parts
    localparam int unsigned PART_W = $clog2(PARTS);
    logic [PART_W-1:0] part;

    assign part_last = (part == PART_W'(PARTS - 1));
    always_ff @(posedge clk) begin
      if (!run) part <= '0;
      else if (move) part <= take ? '0 : part + 1'b1;
    end
    for (genvar lane = 0; lane < PE * SIMD; lane++) begin : g_lane
      localparam int unsigned ROW = lane / SIMD;
      localparam int unsigned COLUMN = lane % SIMD;
      always_ff @(posedge clk) if (move) bytes[lane] <= blocks[ROW*64+(32'(part)*SIMD+COLUMN)*8+:8];
    end
  end

  assign m_axis_tvalid = valid_1;
  for (genvar lane = 0; lane < PE * SIMD; lane++) begin : g_weight
    assign m_axis_tdata[lane] = bytes[lane] < means_1[lane*8+:8];
  end

endmodule

`default_nettype wire
