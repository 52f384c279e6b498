/// Finds the index of the largest logit of a frame; the lowest index wins a tie.
///
/// A frame is DEPTH beats of PE logits. Output beat: bits [PE*LOGIT_W-1:0] carry the logits, sign-extended, and above
/// them LABEL_W bits the label so far, final in the last beat, which has tlast.
///   LOGITS_EN = 1: every beat is passed on.
///   LOGITS_EN = 0: one beat a frame, label only, no logits.
///
/// Latency: 2 cycles; accepted in cycle t, valid in cycle t + 2 (with LOGITS_EN = 0 counted from the last beat).
/// II: DEPTH cycles a frame. s_axis_tready depends combinationally on m_axis_tready; while the output waits, the
///   whole unit stands still.
`default_nettype none

module bnn_label_select #(
    /// Logits of a beat, >= 1.
    parameter  int unsigned PE        = 2,
    /// Beats of a frame, >= 1; PE * DEPTH is the number of classes.
    parameter  int unsigned DEPTH     = 2,
    /// Bits of an incoming logit, two's complement [bits].
    parameter  int unsigned IN_W      = 8,
    /// Bits of an outgoing logit, two's complement [bits], >= IN_W.
    parameter  int unsigned LOGIT_W   = 8,
    /// Bits of the label [bits]; 2**LABEL_W >= PE * DEPTH.
    parameter  int unsigned LABEL_W   = 16,
    /// 1: pass the logits through beside the label.
    parameter  bit          LOGITS_EN = 1'b1,
    /// Bits of an output beat [bits]; derived.
    localparam int unsigned OUT_W     = LABEL_W + (LOGITS_EN ? PE * LOGIT_W : 0)
) (
    input  wire logic               clk,
    input  wire logic               rst_n,
    input  wire logic [PE*IN_W-1:0] s_axis_tdata,
    input  wire logic               s_axis_tvalid,
    output wire logic               s_axis_tready,
    output wire logic [  OUT_W-1:0] m_axis_tdata,
    output wire logic               m_axis_tvalid,
    output wire logic               m_axis_tlast,
    input  wire logic               m_axis_tready
);

  localparam int unsigned BEAT_W = (DEPTH > 1) ? $clog2(DEPTH) : 1;

  if (PE < 1 || DEPTH < 1) begin : g_illegal_shape
    $error("bnn_label_select: PE %0d and DEPTH %0d must be at least 1", PE, DEPTH);
  end
  if (LOGIT_W < IN_W) begin : g_illegal_logit_w
    $error("bnn_label_select: LOGIT_W %0d is less than IN_W %0d", LOGIT_W, IN_W);
  end
  if (LABEL_W < 1 || (LABEL_W < 31 && PE * DEPTH > (1 << LABEL_W))) begin : g_illegal_label_w
    $error("bnn_label_select: LABEL_W %0d can't number %0d classes", LABEL_W, PE * DEPTH);
  end

  logic [BEAT_W-1:0] beat;
  logic advance, take, last;

  // Stage 1: the best of each beat. Stage 2: the best of the frame so far, and the output register.
  logic [PE*IN_W-1:0] values;
  logic [PE*LABEL_W-1:0] indices;
  logic signed [IN_W-1:0] best_1, best_2;
  logic [LABEL_W-1:0] base, label_1, label_2;
  logic valid_1, first_1, last_1, better, valid_2, last_2;

  assign advance       = !valid_2 || m_axis_tready;
  assign s_axis_tready = advance;
  assign take          = s_axis_tvalid && advance;
  assign last          = (beat == BEAT_W'(DEPTH - 1));
  assign better        = first_1 || best_1 > best_2;
  assign m_axis_tvalid = valid_2;
  assign m_axis_tlast  = last_2;

  // A tree: at each level a lane keeps the better of itself and its neighbour `stride` above.
  always_comb begin
    values = s_axis_tdata;
    for (int unsigned lane = 0; lane < PE; lane++) indices[lane*LABEL_W+:LABEL_W] = LABEL_W'(lane);
    for (int unsigned stride = 1; stride < PE; stride = 2 * stride) begin
      for (int unsigned lane = 0; lane + stride < PE; lane = lane + 2 * stride) begin
        if ($signed(values[(lane+stride)*IN_W+:IN_W]) > $signed(values[lane*IN_W+:IN_W])) begin
          values[lane*IN_W+:IN_W] = values[(lane+stride)*IN_W+:IN_W];
          indices[lane*LABEL_W+:LABEL_W] = indices[(lane+stride)*LABEL_W+:LABEL_W];
        end
      end
    end
  end

  always_ff @(posedge clk) begin
    if (take) begin
      best_1  <= values[IN_W-1:0];
      label_1 <= base + indices[LABEL_W-1:0];
      first_1 <= (beat == '0);
      last_1  <= last;
    end
    if (advance && valid_1) begin
      if (better) begin
        best_2  <= best_1;
        label_2 <= label_1;
      end
      last_2 <= last_1;
    end
    if (!rst_n) begin
      beat    <= '0;
      base    <= '0;
      valid_1 <= 1'b0;
      valid_2 <= 1'b0;
    end else begin
      if (take) begin
        beat <= last ? '0 : beat + 1'b1;
        base <= last ? '0 : base + LABEL_W'(PE);
      end
      if (advance) begin
        valid_1 <= s_axis_tvalid;
        valid_2 <= valid_1 && (LOGITS_EN || last_1);
      end
    end
  end

  if (LOGITS_EN) begin : g_logits
    logic [PE*IN_W-1:0] logits_1;
    logic [PE*LOGIT_W-1:0] logits_2;

    always_ff @(posedge clk) if (take) logits_1 <= s_axis_tdata;
    for (genvar pe = 0; pe < PE; pe++) begin : g_pe
      always_ff @(posedge clk) begin
        if (advance && valid_1) logits_2[pe*LOGIT_W+:LOGIT_W] <= LOGIT_W'($signed(logits_1[pe*IN_W+:IN_W]));
      end
    end
    assign m_axis_tdata = {label_2, logits_2};
  end else begin : g_label
    assign m_axis_tdata = label_2;
  end

endmodule

`default_nettype wire
