/// Fixed-point scale and bias per channel: y = x * scale + bias, exact in two's complement.
///
/// Memories, hexadecimal for $readmemh: SCALE_FILE and BIAS_FILE have DEPTH words of PE fields (SCALE_W and OUT_W bits,
/// two's complement). Beat b of the stream uses word b mod DEPTH.
///
/// Latency: 2 cycles; accepted in cycle t, valid in cycle t + 2.
/// II: 1 cycle a beat. s_axis_tready depends combinationally on m_axis_tready; while the output waits, the whole
///   unit stands still.
`default_nettype none

module bnn_scale_bias #(
    /// Elements of a beat, >= 1.
    parameter int unsigned PE         = 1,
    /// Beats of a frame, >= 1.
    parameter int unsigned DEPTH      = 1,
    /// Bits of an input, two's complement [bits].
    parameter int unsigned IN_W       = 8,
    /// Bits of a scale, two's complement [bits].
    parameter int unsigned SCALE_W    = 8,
    /// Bits of an output and a bias, two's complement [bits]; holds every result.
    parameter int unsigned OUT_W      = 16,
    /// Scale memory file.
    parameter              SCALE_FILE = "scale.mem",
    /// Bias memory file.
    parameter              BIAS_FILE  = "bias.mem"
) (
    input  wire logic                clk,
    input  wire logic                rst_n,
    input  wire logic [ PE*IN_W-1:0] s_axis_tdata,
    input  wire logic                s_axis_tvalid,
    output wire logic                s_axis_tready,
    output wire logic [PE*OUT_W-1:0] m_axis_tdata,
    output wire logic                m_axis_tvalid,
    input  wire logic                m_axis_tready
);

  localparam int unsigned BEAT_W = (DEPTH > 1) ? $clog2(DEPTH) : 1;

  if (PE < 1 || DEPTH < 1 || IN_W < 1 || SCALE_W < 1 || OUT_W < 1) begin : g_illegal
    $error("bnn_scale_bias: PE, DEPTH, IN_W, SCALE_W and OUT_W must be at least 1");
  end

  logic [PE*SCALE_W-1:0] scales[DEPTH];
  logic [  PE*OUT_W-1:0] biases[DEPTH];
  logic [PE*SCALE_W-1:0] scale;
  logic [PE*OUT_W-1:0] bias, bias_1, product_1, out_2;
  logic [BEAT_W-1:0] beat;
  logic advance, take, valid_1, valid_2;

  initial $readmemh(SCALE_FILE, scales);
  initial $readmemh(BIAS_FILE, biases);

  assign advance       = !valid_2 || m_axis_tready;
  assign s_axis_tready = advance;
  assign take          = s_axis_tvalid && advance;
  assign scale         = scales[beat];
  assign bias          = biases[beat];
  assign m_axis_tdata  = out_2;
  assign m_axis_tvalid = valid_2;

  for (genvar pe = 0; pe < PE; pe++) begin : g_pe
    always_ff @(posedge clk) begin
      if (take) begin
        product_1[pe*OUT_W+:OUT_W] <= OUT_W'($signed(s_axis_tdata[pe*IN_W+:IN_W])) *
            OUT_W'($signed(scale[pe*SCALE_W+:SCALE_W]));
      end
      if (advance && valid_1) begin
        out_2[pe*OUT_W+:OUT_W] <= product_1[pe*OUT_W+:OUT_W] + bias_1[pe*OUT_W+:OUT_W];
      end
    end
  end

  always_ff @(posedge clk) begin
    if (take) bias_1 <= bias;
    if (!rst_n) begin
      beat    <= '0;
      valid_1 <= 1'b0;
      valid_2 <= 1'b0;
    end else begin
      if (take) beat <= (beat == BEAT_W'(DEPTH - 1)) ? '0 : beat + 1'b1;
      if (advance) begin
        valid_1 <= s_axis_tvalid;
        valid_2 <= valid_1;
      end
    end
  end

endmodule

`default_nettype wire
