/// Packs the logits that leave an accelerator into the words that bnn_dma_write takes.
///
/// In: BEATS beats a frame of PE logits in LOGIT_W bits, two's complement, the first one in the low bits; what stands
/// above them in a beat is dropped. Out: each logit in 32 bits, two a word, the first one in the low half; a frame with
/// an odd number of logits ends with 32 zero bits. m_axis_tlast marks a frame's last word.
/// `length_error` is 1 in the cycle in which a beat moves whose s_axis_tlast is not that of its place in a frame.
///
/// Latency: 1 cycle, 0 with PE = 2; with an odd number of logits in several beats 1 cycle for each logit of a beat.
/// II: that of bnn_dwc from PE to 2 logits; with an odd number of logits in several beats 1 cycle a logit.
`default_nettype none

module bnn_dma_pack #(
    /// Bits of a logit [bits], 1 to 32.
    parameter int unsigned LOGIT_W = 16,
    /// Logits of a beat, >= 1.
    parameter int unsigned PE      = 1,
    /// Beats of a frame, >= 1.
    parameter int unsigned BEATS   = 10,
    /// Bits above the logits of a beat [bits], >= 1.
    parameter int unsigned LABEL_W = 16
) (
    input  wire logic                          clk,
    input  wire logic                          rst_n,
    output wire logic                          length_error,
    input  wire logic [PE*LOGIT_W+LABEL_W-1:0] s_axis_tdata,
    input  wire logic                          s_axis_tvalid,
    input  wire logic                          s_axis_tlast,
    output wire logic                          s_axis_tready,
    output wire logic [                  63:0] m_axis_tdata,
    output wire logic                          m_axis_tvalid,
    output wire logic                          m_axis_tlast,
    input  wire logic                          m_axis_tready
);

  localparam int unsigned LOGITS = PE * BEATS;
  localparam bit EVEN = (LOGITS % 2 == 0);
  localparam int unsigned LANES = (!EVEN && BEATS == 1) ? PE + 1 : PE;
  localparam int unsigned WORDS = (LOGITS + 1) / 2;
  localparam int unsigned BEAT_W = (BEATS > 1) ? $clog2(BEATS) : 1;
  localparam int unsigned WORD_W = (WORDS > 1) ? $clog2(WORDS) : 1;

  if (LOGIT_W < 1 || LOGIT_W > 32) begin : g_illegal_logit
    $error("bnn_dma_pack: LOGIT_W is %0d, it must be 1 to 32", LOGIT_W);
  end
  if (PE < 1 || BEATS < 1 || LABEL_W < 1) begin : g_illegal
    $error("bnn_dma_pack: PE %0d, BEATS %0d and LABEL_W %0d must be at least 1", PE, BEATS, LABEL_W);
  end

  logic [32*LANES-1:0] wide;
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    if (i < PE) begin : g_logit
      assign wide[32*i+:32] = 32'($signed(s_axis_tdata[i*LOGIT_W+:LOGIT_W]));
    end else begin : g_fill
      assign wide[32*i+:32] = '0;
    end
  end

  logic [BEAT_W-1:0] beat;
  logic [WORD_W-1:0] word;
  logic moves_in, moves_out, last_in, last_out;

  assign moves_in     = s_axis_tvalid && s_axis_tready;
  assign moves_out    = m_axis_tvalid && m_axis_tready;
  assign last_in      = (beat == BEAT_W'(BEATS - 1));
  assign last_out     = (word == WORD_W'(WORDS - 1));
  assign length_error = moves_in && s_axis_tlast != last_in;
  assign m_axis_tlast = last_out;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      beat <= '0;
      word <= '0;
    end else begin
      if (moves_in) beat <= last_in ? '0 : beat + 1'b1;
      if (moves_out) word <= last_out ? '0 : word + 1'b1;
    end
  end

  if (EVEN || BEATS == 1) begin : g_whole
    bnn_dwc #(
        .ELEMENT_W(32),
        .IN_LANES (LANES),
        .OUT_LANES(2)
    ) u_dwc (
        .clk          (clk),
        .rst_n        (rst_n),
        .s_axis_tdata (wide),
        .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .m_axis_tdata (m_axis_tdata),
        .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );
  end else begin : g_single
    logic [31:0] logit, first;
    logic tvalid, tready, second;

    bnn_dwc #(
        .ELEMENT_W(32),
        .IN_LANES (LANES),
        .OUT_LANES(1)
    ) u_dwc (
        .clk          (clk),
        .rst_n        (rst_n),
        .s_axis_tdata (wide),
        .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .m_axis_tdata (logit),
        .m_axis_tvalid(tvalid),
        .m_axis_tready(tready)
    );

    // The first logit of a pair waits for the second one; the last one of a frame is alone.
    assign m_axis_tdata  = second ? {logit, first} : {32'b0, logit};
    assign m_axis_tvalid = tvalid && (second || last_out);
    assign tready        = m_axis_tready || !(second || last_out);
    always_ff @(posedge clk) begin
      if (tvalid && tready) first <= logit;
      if (!rst_n) second <= 1'b0;
      else if (tvalid && tready) second <= !second && !last_out;
    end
  end

  logic unused;
  assign unused = &{1'b0, s_axis_tdata[PE*LOGIT_W+:LABEL_W]};

endmodule

`default_nettype wire
