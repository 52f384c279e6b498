/// Compares every element of a stream with thresholds: binarises or requantises it.
///
/// The output element is OUT_BIAS + number of its LEVELS thresholds that are <= the input; with LEVELS = 1 and
/// OUT_W = 1 that is +1 (bit 1) where x >= T.
///
/// Memory, hexadecimal for $readmemh: THRESHOLD_FILE has DEPTH words of LANES * LEVELS fields of IN_W + 1 bits, field
/// lane * LEVELS + level; two's complement when IN_SIGNED, else unsigned. They have one bit more than the input so that
/// "never" is a value. Beat b of the stream uses word b mod DEPTH; with one word all beats use it.
///
/// Latency: 1 cycle; accepted in cycle t, valid in cycle t + 1.
/// II: 1 cycle a beat. s_axis_tready depends combinationally on m_axis_tready.
`default_nettype none

module bnn_thresholding #(
    /// Elements of a beat, >= 1.
    parameter int unsigned LANES          = 8,
    /// Bits of one input [bits], 1 to 32.
    parameter int unsigned IN_W           = 8,
    /// 1: inputs are two's complement.
    parameter bit          IN_SIGNED      = 1'b0,
    /// Thresholds of an element, >= 1.
    parameter int unsigned LEVELS         = 1,
    /// Output below the first threshold.
    parameter int          OUT_BIAS       = 0,
    /// Bits of one output [bits].
    parameter int unsigned OUT_W          = 1,
    /// Beats after which the thresholds repeat, >= 1.
    parameter int unsigned DEPTH          = 1,
    /// Threshold memory file.
    parameter              THRESHOLD_FILE = "thresholds.mem"
) (
    input  wire logic                   clk,
    input  wire logic                   rst_n,
    input  wire logic [ LANES*IN_W-1:0] s_axis_tdata,
    input  wire logic                   s_axis_tvalid,
    output wire logic                   s_axis_tready,
    output wire logic [LANES*OUT_W-1:0] m_axis_tdata,
    output wire logic                   m_axis_tvalid,
    input  wire logic                   m_axis_tready
);

  localparam int unsigned T_W = IN_W + 1;
  localparam int unsigned WORD_W = LANES * LEVELS * T_W;

  if (LANES < 1 || DEPTH < 1) begin : g_illegal_shape
    $error("bnn_thresholding: LANES %0d and DEPTH %0d must be at least 1", LANES, DEPTH);
  end
  if (IN_W < 1 || IN_W > 32) begin : g_illegal_in_w
    $error("bnn_thresholding: IN_W is %0d, it must be 1 to 32", IN_W);
  end
  if (LEVELS < 1 || (OUT_W < 31 && LEVELS >= (1 << OUT_W))) begin : g_illegal_levels
    $error("bnn_thresholding: LEVELS is %0d, it must be 1 to 2**OUT_W - 1 with OUT_W %0d", LEVELS, OUT_W);
  end

  logic [WORD_W-1:0] thresholds[DEPTH];
  logic [WORD_W-1:0] word;
  logic [LANES*OUT_W-1:0] result, out;
  logic valid, take;

  initial $readmemh(THRESHOLD_FILE, thresholds);

  assign s_axis_tready = !valid || m_axis_tready;
  assign take          = s_axis_tvalid && s_axis_tready;
  assign m_axis_tdata  = out;
  assign m_axis_tvalid = valid;

  if (DEPTH == 1) begin : g_one_word
    assign word = thresholds[0];
  end else begin : g_words
    localparam int unsigned BEAT_W = $clog2(DEPTH);
    logic [BEAT_W-1:0] beat;

    assign word = thresholds[beat];
    always_ff @(posedge clk) begin
      if (!rst_n) beat <= '0;
      else if (take) beat <= (beat == BEAT_W'(DEPTH - 1)) ? '0 : beat + 1'b1;
    end
  end

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    logic [  IN_W-1:0] x;
    logic [LEVELS-1:0] fires;

    assign x = s_axis_tdata[lane*IN_W+:IN_W];
    for (genvar level = 0; level < LEVELS; level++) begin : g_level
      logic [T_W-1:0] threshold;

      assign threshold = word[(lane*LEVELS+level)*T_W+:T_W];
      if (IN_SIGNED) begin : g_signed
        assign fires[level] = T_W'($signed(x)) >= $signed(threshold);
      end else begin : g_unsigned
        assign fires[level] = T_W'(x) >= threshold;
      end
    end
    if (LEVELS == 1 && OUT_W == 1) begin : g_bipolar
      assign result[lane] = fires[0] ^ OUT_BIAS[0];
    end else begin : g_steps
      assign result[lane*OUT_W+:OUT_W] = OUT_W'(OUT_BIAS) + OUT_W'($countones(fires));
    end
  end

  always_ff @(posedge clk) begin
    if (take) out <= result;
    if (!rst_n) valid <= 1'b0;
    else if (s_axis_tready) valid <= s_axis_tvalid;
  end

endmodule

`default_nettype wire
