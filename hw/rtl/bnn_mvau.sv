/// Matrix-vector-activation unit: threshold(W x) or W x + offset, for a ±1 or integer matrix W of MH rows and MW
/// columns.
///
/// PE neurons work side by side, each on SIMD inputs a cycle. A vector (a frame of a dense layer, a window of a
/// convolution) enters once, in SF = MW / SIMD beats; it is kept in a buffer and replayed for the other NF - 1 groups
/// of neurons, NF = MH / PE. Each group leaves as one beat of PE elements, the first neuron in the least significant
/// bits.
///
/// With GROUPS > 1, as a grouped convolution has it, GROUPS vectors of MW elements follow each other, and the neurons
/// fall into as many parts of MH / GROUPS: the first part sees the first vector alone, and so on. Each vector then enters
/// once and is replayed for the other NF / GROUPS - 1 groups of its part; NF beats leave for every GROUPS vectors.
///
/// Accumulators:
///   COUNTS, i.e. IN_BIPOLAR = 1 and WEIGHT_W = 1: the number of agreeing positions, 0 to MW, unsigned; the dot product is
///     2 * count - MW.
///   Otherwise: the dot product, two's complement.
/// Outputs:
///   THRESHOLD_EN = 1: OUT_BIAS + number of the LEVELS thresholds that are <= the accumulator. With LEVELS = 1 and
///     OUT_W = 1 that is the ±1 activation, bit 1 = +1.
///   THRESHOLD_EN = 0: dot product + offset of the neuron, two's complement.
///
/// Memories, hexadecimal for $readmemh:
///   WEIGHT_FILE: SF * NF words of PE * SIMD fields of WEIGHT_W bits; word nf * SF + sf, field pe * SIMD + i is the
///     weight of neuron nf * PE + pe for input sf * SIMD + i: with one bit 1 = +1, with more two's complement.
///     With DRAW = 1 instead the means of bnn_draw, PE * SIMD bytes a word.
///   PARAM_FILE: NF words; with thresholds PE * LEVELS fields of ACC_W bits, field pe * LEVELS + level, in the
///     accumulator's domain; without, PE offsets of OUT_W bits (where the accumulator counts they include -MW).
///
/// DRAW = 1: the ±1 weights are drawn anew for each frame by a bnn_draw, which takes the ports draw_*. Nothing is taken
///   from s_axis before cycle 18, counted from the end of the reset or of draw_restart; from then on a word of weights
///   is always there. SIMD then divides 8 or is a multiple of 8. A draw_restart must find the unit between two frames.
///
/// Latency: 4 cycles from the handshake of the last beat that a group needs to its output: accepted in cycle t, its
///   m_axis_tvalid is high in cycle t + 4. From the first input beat to the first output: SF - 1 + 4.
/// II: SF * NF / GROUPS cycles a vector, with no bubble between groups, vectors or frames. While m_axis_tvalid waits for
///   m_axis_tready the whole unit stands still; s_axis_tready depends combinationally on m_axis_tready.
`default_nettype none

module bnn_mvau #(
    /// Inputs of a neuron (matrix width) [elements].
    parameter  int unsigned MW           = 8,
    /// Neurons (matrix height) [elements].
    parameter  int unsigned MH           = 4,
    /// Inputs taken a cycle [elements]; divides MW.
    parameter  int unsigned SIMD         = 4,
    /// Vectors that the neurons are divided among, >= 1.
    parameter  int unsigned GROUPS       = 1,
    /// Neurons computed side by side [elements]; divides MH / GROUPS.
    parameter  int unsigned PE           = 2,
    /// Bits of one input [bits], 1 to 32; 1 when IN_BIPOLAR.
    parameter  int unsigned IN_W         = 1,
    /// 1: inputs are ±1, bit 1 = +1. 0: inputs are IN_W-bit integers.
    parameter  bit          IN_BIPOLAR   = 1'b1,
    /// 1: integer inputs are two's complement.
    parameter  bit          IN_SIGNED    = 1'b0,
    /// Bits of one weight [bits]: 1 for ±1, else two's complement of 2 to 8.
    parameter  int unsigned WEIGHT_W     = 1,
    /// 1: thresholds follow the accumulator. 0: the dot product plus an offset leaves.
    parameter  bit          THRESHOLD_EN = 1'b1,
    /// Thresholds of a neuron, >= 1.
    parameter  int unsigned LEVELS       = 1,
    /// Output below the first threshold.
    parameter  int          OUT_BIAS     = 0,
    /// Accumulators count agreeing positions; derived.
    localparam bit          COUNTS       = IN_BIPOLAR && WEIGHT_W == 1,
    /// Bits of an accumulator and a threshold [bits]: holds every sum and the greatest sum + 1.
    parameter  int unsigned ACC_W        = COUNTS ? $clog2(MW + 2) : IN_W + WEIGHT_W + $clog2(MW + 1),
    /// Bits of one output [bits].
    parameter  int unsigned OUT_W        = 1,
    /// 1: weights are drawn for each frame.
    parameter  bit          DRAW         = 1'b0,
    /// Number of the layer in the generator's key, with DRAW.
    parameter  int unsigned LAYER        = 0,
    /// Times that a frame needs the weights, with DRAW: vectors of a frame, or with GROUPS its sets of GROUPS vectors.
    parameter  int unsigned VECTORS      = 1,
    /// Weight memory file.
    parameter               WEIGHT_FILE  = "weights.mem",
    /// Threshold or offset memory file.
    parameter               PARAM_FILE   = "params.mem",
    /// Where the weights lie: "block" RAM, "distributed" in LUTs, or "auto", as the synthesis tool likes.
    parameter               RAM_STYLE    = "auto",
    /// Input beats of a vector; derived.
    localparam int unsigned SF           = MW / SIMD,
    /// Output beats of GROUPS vectors; derived.
    localparam int unsigned NF           = MH / PE
) (
    input  wire logic                 clk,
    input  wire logic                 rst_n,
    input  wire logic [SIMD*IN_W-1:0] s_axis_tdata,
    input  wire logic                 s_axis_tvalid,
    output wire logic                 s_axis_tready,
    output wire logic [ PE*OUT_W-1:0] m_axis_tdata,
    output wire logic                 m_axis_tvalid,
    input  wire logic                 m_axis_tready,
    /// Seed, index of the first frame, and 1 to begin anew with it: see bnn_draw. Without DRAW not to be connected.
    input  wire logic [         31:0] draw_seed = '0,
    input  wire logic [         31:0] draw_frame = '0,
    input  wire logic                 draw_restart = 1'b0
);

  localparam int unsigned X_W = SIMD * IN_W;
  // ±1 weights on integers sum the inputs whose weight is +1; wider weights multiply.
  localparam bit HALVES = !IN_BIPOLAR && WEIGHT_W == 1;
  localparam int unsigned SUM_W = $clog2(SIMD + 1) + (COUNTS ? 0 : IN_W) + (WEIGHT_W == 1 ? 0 : WEIGHT_W);
  localparam int unsigned SLICE_W = SIMD * WEIGHT_W;
  localparam int unsigned SF_W = (SF > 1) ? $clog2(SF) : 1;
  localparam int unsigned NF_W = (NF > 1) ? $clog2(NF) : 1;
  localparam int unsigned TURNS = NF / GROUPS;
  localparam int unsigned DEPTH = SF * NF;
  localparam int unsigned ADDR_W = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int unsigned PARAM_W = THRESHOLD_EN ? LEVELS * ACC_W : OUT_W;
  // Weights that depend on so few address bits are no memory, but part of the LUTs that compare them with inputs.
  localparam bit FUSED = COUNTS && !DRAW && DEPTH <= 32 && 64'(RAM_STYLE) != 64'("block");
  // The accumulator starts from the group's offset, or so that its sign tells whether the only threshold is reached.
  localparam bit STARTED = !THRESHOLD_EN || LEVELS == 1;
  localparam int unsigned RAW_W = (COUNTS && OUT_W > 1) ? OUT_W - 1 : OUT_W;
  localparam int unsigned SUMS_W = !THRESHOLD_EN ? RAW_W : STARTED ? ACC_W + 1 : ACC_W;

  if (SIMD < 1 || MW % SIMD != 0) begin : g_illegal_simd
    $error("bnn_mvau: SIMD %0d must divide MW %0d", SIMD, MW);
  end
  if (PE < 1 || MH % PE != 0) begin : g_illegal_pe
    $error("bnn_mvau: PE %0d must divide MH %0d", PE, MH);
  end
  if (GROUPS < 1 || MH % (GROUPS * PE) != 0) begin : g_illegal_groups
    $error("bnn_mvau: GROUPS %0d of PE %0d must divide MH %0d", GROUPS, PE, MH);
  end
  if (IN_W < 1 || IN_W > 32) begin : g_illegal_in_w
    $error("bnn_mvau: IN_W is %0d, it must be 1 to 32", IN_W);
  end
  if (IN_BIPOLAR && IN_W != 1) begin : g_illegal_bipolar
    $error("bnn_mvau: IN_W is %0d, but bipolar inputs have one bit", IN_W);
  end
  if (DRAW && WEIGHT_W != 1) begin : g_illegal_draw
    $error("bnn_mvau: WEIGHT_W is %0d, but drawn weights have one bit", WEIGHT_W);
  end
  if (WEIGHT_W < 1 || WEIGHT_W > 8) begin : g_illegal_weight_w
    $error("bnn_mvau: WEIGHT_W is %0d, it must be 1 to 8", WEIGHT_W);
  end
  if (THRESHOLD_EN && (LEVELS < 1 || (OUT_W < 31 && LEVELS >= (1 << OUT_W)))) begin : g_illegal_levels
    $error("bnn_mvau: LEVELS is %0d, it must be 1 to 2**OUT_W - 1 with OUT_W %0d", LEVELS, OUT_W);
  end

  // Stage 0: walk through the weight memory; take a beat in the first group of neurons, replay it in the others.
  logic [  SF_W-1:0] sf;
  logic [  NF_W-1:0] nf;
  logic [ADDR_W-1:0] addr;
  logic advance, step, load, sf_last, nf_last, weights_there;
  logic [X_W-1:0] planes, x;

  assign s_axis_tready = advance && load && weights_there;
  assign step          = advance && weights_there && (!load || s_axis_tvalid);
  assign sf_last       = (sf == SF_W'(SF - 1));
  assign nf_last       = (nf == NF_W'(NF - 1));

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      sf   <= '0;
      nf   <= '0;
      addr <= '0;
    end else if (step) begin
      sf   <= sf_last ? '0 : sf + 1'b1;
      addr <= (sf_last && nf_last) ? '0 : addr + 1'b1;
      if (sf_last) nf <= nf_last ? '0 : nf + 1'b1;
    end
  end

  if (GROUPS == 1) begin : g_one_vector
    assign load = (nf == '0);
  end else if (TURNS == 1) begin : g_no_replay
    assign load = 1'b1;
  end else begin : g_vectors
    localparam int unsigned TURN_W = $clog2(TURNS);
    logic [TURN_W-1:0] turn;

    assign load = (turn == '0);
    always_ff @(posedge clk) begin
      if (!rst_n) turn <= '0;
      else if (step && sf_last) turn <= (turn == TURN_W'(TURNS - 1)) ? '0 : turn + 1'b1;
    end
  end

  if (IN_W == 1) begin : g_bits
    assign planes = s_axis_tdata;
  end else begin : g_planes
    for (genvar i = 0; i < SIMD; i++) begin : g_element
      for (genvar b = 0; b < IN_W; b++) begin : g_bit
        assign planes[b*SIMD+i] = s_axis_tdata[i*IN_W+b];
      end
    end
  end

  if (TURNS > 1) begin : g_replay
    logic [X_W-1:0] vector[SF];

    always_ff @(posedge clk) if (step && load) vector[sf] <= planes;
    assign x = load ? planes : vector[sf];
  end else begin : g_stream
    assign x = planes;
  end

  // Stage 1: inputs and weights side by side.
  logic [PE*SLICE_W-1:0] weights_1;
  logic [X_W-1:0] x_1;
  logic [NF_W-1:0] nf_1;
  logic valid_1, first_1, last_1;

  if (DRAW) begin : g_drawn
    logic [PE*SIMD-1:0] drawn;

    bnn_draw #(
        .MW        (MW),
        .MH        (MH),
        .SIMD      (SIMD),
        .PE        (PE),
        .VECTORS   (VECTORS),
        .LAYER     (LAYER),
        .MEANS_FILE(WEIGHT_FILE)
    ) u_draw (
        .clk          (clk),
        .rst_n        (rst_n),
        .seed         (draw_seed),
        .frame        (draw_frame),
        .restart      (draw_restart),
        .m_axis_tdata (drawn),
        .m_axis_tvalid(weights_there),
        .m_axis_tready(step)
    );
    logic [PE*SIMD-1:0] drawn_1;

    always_ff @(posedge clk) if (step) drawn_1 <= drawn;
    assign weights_1 = drawn_1;
  end else begin : g_memory
`ifdef YOSYS
    // It has no distributed ROM; as registers, a memory that is never written becomes LUTs.
    (* ram_style = (88'(RAM_STYLE) == 88'("distributed")) ? "registers" : RAM_STYLE *)
`else
    (* rom_style = RAM_STYLE *)
`endif
    logic [PE*SLICE_W-1:0] weights[DEPTH];
    logic unused;

    assign unused = &{1'b0, draw_seed, draw_frame, draw_restart, LAYER, VECTORS};

    initial $readmemh(WEIGHT_FILE, weights);
    assign weights_there = 1'b1;
    if (FUSED) begin : g_fused
      logic [ADDR_W-1:0] addr_1;

      // With an initial value Yosys does not take this register for the memory's own.
      initial addr_1 = '0;
      always_ff @(posedge clk) if (step) addr_1 <= addr;
      assign weights_1 = weights[addr_1];
    end else begin : g_fetched
      logic [PE*SLICE_W-1:0] fetched_1;

      always_ff @(posedge clk) if (step) fetched_1 <= weights[addr];
      assign weights_1 = fetched_1;
    end
  end

  always_ff @(posedge clk) begin
    if (step) begin
      x_1     <= x;
      nf_1    <= nf;
      first_1 <= (sf == '0);
      last_1  <= sf_last;
    end
    if (!rst_n) valid_1 <= 1'b0;
    else if (advance) valid_1 <= step;
  end

  // Stage 2: sums of the slice registered. Stage 3: accumulated. The group's thresholds or offsets are there when they
  // are needed: in stage 2 where accumulators start from them, in stage 3 where they are compared.
  logic [PE*PARAM_W-1:0] params[NF];
  logic [PE*PARAM_W-1:0] params_2;
  logic valid_2, first_2, last_2, done_3;

  initial $readmemh(PARAM_FILE, params);

  always_ff @(posedge clk) begin
    if (advance) begin
      first_2 <= first_1;
      last_2  <= last_1;
    end
    if (!rst_n) begin
      valid_2 <= 1'b0;
      done_3  <= 1'b0;
    end else if (advance) begin
      valid_2 <= valid_1;
      done_3  <= valid_2 && last_2;
    end
  end

  if (NF <= 8 || !STARTED) begin : g_params_follow
    logic [NF_W-1:0] nf_2;

    initial nf_2 = '0;
    always_ff @(posedge clk) if (advance) nf_2 <= nf_1;
    assign params_2 = params[nf_2];
  end else begin : g_params_fetched
    logic [PE*PARAM_W-1:0] fetched_2;

    always_ff @(posedge clk) if (advance && valid_1) fetched_2 <= params[nf_1];
    assign params_2 = fetched_2;
  end

  // Integer inputs and ±1 weights: the dot product is twice the sum over the positive weights, less the sum of
  // all inputs.
  logic [ACC_W-1:0] total_2;

  if (!HALVES) begin : g_no_total
    assign total_2 = '0;
  end else begin : g_total
    logic [SUM_W-1:0] total_1;
    logic [ACC_W-1:0] held_2;

    bnn_dot #(
        .SIMD      (SIMD),
        .IN_W      (IN_W),
        .IN_BIPOLAR(IN_BIPOLAR),
        .IN_SIGNED (IN_SIGNED)
    ) u_total (
        .weights({SIMD{1'b1}}),
        .planes (x_1),
        .sum    (total_1)
    );
    always_ff @(posedge clk) begin
      if (advance && valid_1) held_2 <= IN_SIGNED ? ACC_W'($signed(total_1)) : ACC_W'(total_1);
    end
    assign total_2 = held_2;
  end

  // Stage 4: the output register. Dot products are kept as they are: Yosys would draw the sum with the offset into
  // the DSP48 of a multiplication behind it, where it does not wrap around at OUT_W bits.
  (* keep = !THRESHOLD_EN *)
  logic [PE*OUT_W-1:0] out_4;
  logic valid_4;

  assign advance       = !valid_4 || m_axis_tready;
  assign m_axis_tdata  = out_4;
  assign m_axis_tvalid = valid_4;

  always_ff @(posedge clk) begin
    if (!rst_n) valid_4 <= 1'b0;
    else if (advance) valid_4 <= done_3;
  end

  for (genvar pe = 0; pe < PE; pe++) begin : g_pe
    logic [SUM_W-1:0] sum_1, sum_2;
    logic [ACC_W-1:0] term_2;
    logic [SUMS_W-1:0] start_2, from_2, wide_2, acc_3, next_3;
    logic unused_carry;
    logic [OUT_W-1:0] result_3;

    if (FUSED) begin : g_popcount
      bnn_popcount #(
          .WIDTH(SIMD)
      ) u_popcount (
          .bits (weights_1[pe*SIMD+:SIMD] ~^ x_1),
          .count(sum_1)
      );
    end else if (WEIGHT_W == 1) begin : g_dot
      bnn_dot #(
          .SIMD      (SIMD),
          .IN_W      (IN_W),
          .IN_BIPOLAR(IN_BIPOLAR),
          .IN_SIGNED (IN_SIGNED)
      ) u_dot (
          .weights(weights_1[pe*SIMD+:SIMD]),
          .planes (x_1),
          .sum    (sum_1)
      );
    end else begin : g_multiply_add
      bnn_multiply_add #(
          .SIMD      (SIMD),
          .WEIGHT_W  (WEIGHT_W),
          .IN_W      (IN_W),
          .IN_BIPOLAR(IN_BIPOLAR),
          .IN_SIGNED (IN_SIGNED)
      ) u_multiply_add (
          .weights(weights_1[pe*SLICE_W+:SLICE_W]),
          .planes (x_1),
          .sum    (sum_1)
      );
    end

    if (COUNTS) begin : g_count
      assign term_2 = ACC_W'(sum_2) - total_2;
    end else if (!HALVES) begin : g_whole
      assign term_2 = ACC_W'($signed(sum_2)) - total_2;
    end else if (IN_SIGNED) begin : g_signed
      assign term_2 = (ACC_W'($signed(sum_2)) << 1) - total_2;
    end else begin : g_unsigned
      assign term_2 = (ACC_W'(sum_2) << 1) - total_2;
    end

    if (COUNTS) begin : g_wide_count
      assign wide_2 = SUMS_W'(term_2);
    end else begin : g_wide_dot
      assign wide_2 = SUMS_W'($signed(term_2));
    end

    // -threshold = ~threshold + 1; the 1 is the carry into the first addition.
    if (!STARTED) begin : g_start_zero
      assign start_2 = '0;
    end else if (!THRESHOLD_EN) begin : g_start_offset
      assign start_2 = SUMS_W'(params_2[pe*OUT_W+:OUT_W] >> (OUT_W - RAW_W));
    end else if (COUNTS) begin : g_start_count
      assign start_2 = ~(SUMS_W'(params_2[pe*ACC_W+:ACC_W]));
    end else begin : g_start_dot
      assign start_2 = ~(SUMS_W'($signed(params_2[pe*ACC_W+:ACC_W])));
    end
    assign from_2 = first_2 ? start_2 : acc_3;
    if (THRESHOLD_EN && STARTED) begin : g_carry
      assign {next_3, unused_carry} = {wide_2, first_2} + {from_2, 1'b1};
    end else begin : g_no_carry
      assign unused_carry = 1'b0;
      assign next_3       = wide_2 + from_2;
    end

    always_ff @(posedge clk) begin
      if (advance && valid_1) sum_2 <= sum_1;
      if (advance && valid_2) acc_3 <= next_3;
      if (advance && done_3) out_4[pe*OUT_W+:OUT_W] <= result_3;
    end

    if (!THRESHOLD_EN) begin : g_raw
      if (RAW_W < OUT_W) begin : g_count
        logic low_3;

        always_ff @(posedge clk) if (advance && valid_2 && first_2) low_3 <= params_2[pe*OUT_W];
        assign result_3 = {acc_3, low_3};
      end else begin : g_dot
        assign result_3 = acc_3;
      end
    end else if (STARTED) begin : g_sign
      // An inverted bit is not cast here: Verilator widens it before it inverts.
      assign result_3 = acc_3[ACC_W] ? OUT_W'(OUT_BIAS) : OUT_W'(OUT_BIAS + 1);
    end else begin : g_threshold
      logic [LEVELS*ACC_W-1:0] thresholds_3;
      logic [LEVELS-1:0] fires;

      always_ff @(posedge clk) begin
        if (advance && valid_2 && last_2) thresholds_3 <= params_2[pe*LEVELS*ACC_W+:LEVELS*ACC_W];
      end

      for (genvar level = 0; level < LEVELS; level++) begin : g_level
        if (COUNTS) begin : g_count
          assign fires[level] = acc_3 >= thresholds_3[level*ACC_W+:ACC_W];
        end else begin : g_dot
          assign fires[level] = $signed(acc_3) >= $signed(thresholds_3[level*ACC_W+:ACC_W]);
        end
      end
      assign result_3 = OUT_W'(OUT_BIAS) + OUT_W'($countones(fires));
    end
  end

endmodule

`default_nettype wire
