/// Turns the words that bnn_dma_read sends into the input beats of an accelerator, and counts frames.
///
/// A beat has LANES bytes, the first one in the low bits. Exactly `frames` frames leave; the bytes that fill up the last
/// word of a transfer are dropped, so that the next transfer begins with a frame.
///
/// Latency: 1 cycle; 0 with LANES = 8. `done` is 1 in the cycle after the last beat left.
/// II: that of bnn_dwc: the narrower side moves in every cycle.
`default_nettype none

module bnn_dma_unpack #(
    /// Bytes of a frame in memory [bytes], a multiple of LANES.
    parameter int unsigned FRAME_BYTES = 784,
    /// Bytes of a beat [bytes], >= 1.
    parameter int unsigned LANES       = 8,
    /// Bits of the number of frames [bits].
    parameter int unsigned FRAMES_W    = 32
) (
    input  wire logic                clk,
    input  wire logic                rst_n,
    /// Begin a transfer; only where none is under way.
    input  wire logic                start,
    input  wire logic [FRAMES_W-1:0] frames,
    output wire logic                done,
    /// The last beat of a frame leaves.
    output wire logic                frame_done,
    input  wire logic [        63:0] s_axis_tdata,
    input  wire logic                s_axis_tvalid,
    output wire logic                s_axis_tready,
    output wire logic [ 8*LANES-1:0] m_axis_tdata,
    output wire logic                m_axis_tvalid,
    input  wire logic                m_axis_tready
);

  localparam int unsigned BEATS = FRAME_BYTES / LANES;
  localparam int unsigned BEAT_W = (BEATS > 1) ? $clog2(BEATS) : 1;

  if (LANES < 1 || FRAME_BYTES < 1 || FRAME_BYTES % LANES != 0) begin : g_illegal
    $error("bnn_dma_unpack: LANES %0d must divide FRAME_BYTES %0d", LANES, FRAME_BYTES);
  end

  logic [FRAMES_W-1:0] left;
  logic [  BEAT_W-1:0] beat;
  logic running, finished, tvalid, flows, moves, last, words_ready;

  assign flows         = running && left != '0;
  assign m_axis_tvalid = tvalid && flows;
  assign s_axis_tready = words_ready && flows;
  assign moves         = m_axis_tvalid && m_axis_tready;
  assign last          = (beat == BEAT_W'(BEATS - 1));
  assign frame_done    = moves && last;
  assign finished      = running && left == '0;
  assign done          = finished;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      running <= 1'b0;
      left    <= '0;
      beat    <= '0;
    end else begin
      if (start) running <= 1'b1;
      else if (finished) running <= 1'b0;
      if (start) left <= frames;
      else if (frame_done) left <= left - 1'b1;
      if (moves) beat <= last ? '0 : beat + 1'b1;
    end
  end

  // What stays in the converter at a transfer's end came with its last word.
  bnn_dwc #(
      .ELEMENT_W(8),
      .IN_LANES (8),
      .OUT_LANES(LANES)
  ) u_dwc (
      .clk          (clk),
      .rst_n        (rst_n && !finished),
      .s_axis_tdata (s_axis_tdata),
      .s_axis_tvalid(s_axis_tvalid && flows),
      .s_axis_tready(words_ready),
      .m_axis_tdata (m_axis_tdata),
      .m_axis_tvalid(tvalid),
      .m_axis_tready(m_axis_tready && flows)
  );

endmodule

`default_nettype wire
