/// Pooling: the greatest value of each channel over a window, or the sum, read as bnn_swg writes windows.
///
/// In: PIXELS pixels a window, each in CF = CHANNELS / LANES beats. Out: CF beats a window, one with each beat of its
/// last pixel.
///   SUM = 0: the greatest. ±1 in one bit counts as unsigned: the greatest is an OR.
///   SUM = 1: the sum in OUT_W bits, two's complement or unsigned; ±1 in one bit counts as -1 and +1 with BIPOLAR = 1.
///
/// Latency: 1 cycle; a beat of the last pixel is accepted in cycle t, its output is valid in cycle t + 1.
/// II: PIXELS * CF cycles a window. s_axis_tready = !m_axis_tvalid || m_axis_tready.
`default_nettype none

module bnn_pool #(
    /// Bits of one element [bits], >= 1.
    parameter  int unsigned ELEMENT_W = 1,
    /// 1: elements are two's complement.
    parameter  bit          SIGNED    = 1'b0,
    /// 1: elements are ±1 in one bit; it matters to a sum only.
    parameter  bit          BIPOLAR   = 1'b0,
    /// 0: the greatest value leaves. 1: the sum.
    parameter  bit          SUM       = 1'b0,
    /// Bits of one output element [bits]: ELEMENT_W, or with SUM enough for every sum.
    parameter  int unsigned OUT_W     = ELEMENT_W,
    /// Channels of a pixel [elements].
    parameter  int unsigned CHANNELS  = 2,
    /// Elements of a beat; divides CHANNELS.
    parameter  int unsigned LANES     = 1,
    /// Pixels of a window, >= 1.
    parameter  int unsigned PIXELS    = 4,
    /// Beats of a pixel; derived.
    localparam int unsigned CF        = CHANNELS / LANES
) (
    input  wire logic                       clk,
    input  wire logic                       rst_n,
    input  wire logic [LANES*ELEMENT_W-1:0] s_axis_tdata,
    input  wire logic                       s_axis_tvalid,
    output wire logic                       s_axis_tready,
    output wire logic [    LANES*OUT_W-1:0] m_axis_tdata,
    output wire logic                       m_axis_tvalid,
    input  wire logic                       m_axis_tready
);

  localparam int unsigned BEAT_W = (CF > 1) ? $clog2(CF) : 1;
  localparam int unsigned PIXEL_W = (PIXELS > 1) ? $clog2(PIXELS) : 1;

  if (ELEMENT_W < 1 || LANES < 1 || CHANNELS % LANES != 0) begin : g_illegal_lanes
    $error("bnn_pool: LANES %0d must divide CHANNELS %0d", LANES, CHANNELS);
  end
  if (PIXELS < 1) begin : g_illegal_pixels
    $error("bnn_pool: PIXELS is %0d, it must be at least 1", PIXELS);
  end

  if (!SUM && OUT_W != ELEMENT_W) begin : g_illegal_out_w
    $error("bnn_pool: OUT_W is %0d, but the greatest has ELEMENT_W %0d bits", OUT_W, ELEMENT_W);
  end
  if (BIPOLAR && ELEMENT_W != 1) begin : g_illegal_bipolar
    $error("bnn_pool: ELEMENT_W is %0d, but bipolar inputs have one bit", ELEMENT_W);
  end

  // The greatest value or the sum so far of each beat of a pixel.
  logic [LANES*OUT_W-1:0] so_far[CF];
  logic [LANES*OUT_W-1:0] stored, result, out;
  logic [ BEAT_W-1:0] beat;
  logic [PIXEL_W-1:0] pixel;
  logic valid, take, first, last;

  assign s_axis_tready = !valid || m_axis_tready;
  assign take          = s_axis_tvalid && s_axis_tready;
  assign stored        = so_far[beat];
  assign first         = (pixel == '0);
  assign last          = (pixel == PIXEL_W'(PIXELS - 1));
  assign m_axis_tdata  = out;
  assign m_axis_tvalid = valid;

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    logic [ELEMENT_W-1:0] a;
    logic [OUT_W-1:0] b;

    assign a = s_axis_tdata[lane*ELEMENT_W+:ELEMENT_W];
    assign b = stored[lane*OUT_W+:OUT_W];
    if (SUM) begin : g_sum
      logic [OUT_W-1:0] term;

      if (BIPOLAR) begin : g_bipolar
        assign term = OUT_W'($signed({~a[0], 1'b1}));
      end else if (SIGNED) begin : g_signed
        assign term = OUT_W'($signed(a));
      end else begin : g_unsigned
        assign term = OUT_W'(a);
      end
      assign result[lane*OUT_W+:OUT_W] = first ? term : b + term;
    end else begin : g_greatest
      logic greater;

      if (SIGNED) begin : g_signed
        assign greater = $signed(a) > $signed(b);
      end else begin : g_unsigned
        assign greater = a > b;
      end
      assign result[lane*OUT_W+:OUT_W] = (first || greater) ? a : b;
    end
  end

  always_ff @(posedge clk) begin
    if (take) begin
      so_far[beat] <= result;
      out          <= result;
    end
    if (!rst_n) begin
      valid <= 1'b0;
      beat  <= '0;
      pixel <= '0;
    end else begin
      if (s_axis_tready) valid <= take && last;
      if (take) begin
        beat <= (beat == BEAT_W'(CF - 1)) ? '0 : beat + 1'b1;
        if (beat == BEAT_W'(CF - 1)) pixel <= last ? '0 : pixel + 1'b1;
      end
    end
  end

endmodule

`default_nettype wire
