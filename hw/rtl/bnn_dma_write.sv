/// Write side of a DMA: takes frames of whole 64-bit words from a stream and writes them to memory over AXI4.
///
/// Frames lie back to back. INCR bursts of at most 16 words, none across a 4 KiB boundary. A burst is offered only
/// when all its words are here, so a slow stream never holds the bus. Words are taken only while a transfer is under
/// way, and only as many as it has. `done` is 1 in the cycle after the last answer came.
/// `stop` lets no further burst begin; one that was offered is written to its end. `quiet` says that nothing is under
/// way on the bus. After `stop` only a reset makes it usable again, and a reset must wait for `quiet`.
/// `slave_error` and `decode_error` are 1 in the cycle in which such an answer comes, `length_error` in the cycle in
/// which a word comes whose s_axis_tlast is not that of its place in a frame.
///
/// Latency: the first word is taken at the latest 35 cycles after `start`; the address of a burst is offered in the
///   second cycle after its last word came, its first word in the cycle after the address was taken.
/// II: 1 cycle a word.
`default_nettype none

module bnn_dma_write #(
    /// Words of a frame [64-bit words], >= 1.
    parameter int unsigned FRAME_WORDS = 5,
    /// Bits of an address [bits], 13 to 64.
    parameter int unsigned ADDR_W      = 40,
    /// Words of the buffer [words], >= 32: one burst leaves while the next one comes.
    parameter int unsigned FIFO_DEPTH  = 32,
    /// Bits of the number of frames [bits].
    parameter int unsigned FRAMES_W    = 32
) (
    input  wire logic                clk,
    input  wire logic                rst_n,
    /// Begin a transfer; only where none is under way.
    input  wire logic                start,
    /// Byte address of the first frame, a multiple of 8.
    input  wire logic [  ADDR_W-1:0] address,
    input  wire logic [FRAMES_W-1:0] frames,
    input  wire logic                stop,
    output wire logic                quiet,
    output wire logic                done,
    /// The last word of a frame leaves for the memory.
    output wire logic                frame_done,
    output wire logic                slave_error,
    output wire logic                decode_error,
    output wire logic                length_error,
    input  wire logic [        63:0] s_axis_tdata,
    input  wire logic                s_axis_tvalid,
    input  wire logic                s_axis_tlast,
    output wire logic                s_axis_tready,
    output wire logic [  ADDR_W-1:0] m_axi_awaddr,
    output wire logic [         7:0] m_axi_awlen,
    output wire logic [         2:0] m_axi_awsize,
    output wire logic [         1:0] m_axi_awburst,
    output wire logic [         3:0] m_axi_awcache,
    output wire logic [         2:0] m_axi_awprot,
    output wire logic                m_axi_awvalid,
    input  wire logic                m_axi_awready,
    output wire logic [        63:0] m_axi_wdata,
    output wire logic [         7:0] m_axi_wstrb,
    output wire logic                m_axi_wlast,
    output wire logic                m_axi_wvalid,
    input  wire logic                m_axi_wready,
    input  wire logic [         1:0] m_axi_bresp,
    input  wire logic                m_axi_bvalid,
    output wire logic                m_axi_bready
);

  localparam int unsigned LENGTH_W = FRAMES_W + $clog2(FRAME_WORDS + 1);
  localparam int unsigned WORDS_W = (LENGTH_W > 6) ? LENGTH_W : 6;
  localparam int unsigned COUNT_W = $clog2(FIFO_DEPTH + 1);
  localparam int unsigned PLACE_W = (FRAME_WORDS > 1) ? $clog2(FRAME_WORDS) : 1;
  localparam logic [4:0] MOST = 5'd16;
  localparam logic [3:0] MOST_ANSWERS = 4'd15;

  if (FRAME_WORDS < 1) begin : g_illegal_frame
    $error("bnn_dma_write: FRAME_WORDS is %0d, it must be at least 1", FRAME_WORDS);
  end
  if (FIFO_DEPTH < 32) begin : g_illegal_depth
    $error("bnn_dma_write: FIFO_DEPTH is %0d, it must hold two bursts of 16", FIFO_DEPTH);
  end
  if (ADDR_W < 13 || ADDR_W > 64) begin : g_illegal_address
    $error("bnn_dma_write: ADDR_W is %0d, it must be 13 to 64", ADDR_W);
  end

  logic [LENGTH_W-1:0] length;
  logic measuring, was_measuring, started, loads;

  bnn_dma_length #(
      .FRAME_LENGTH(FRAME_WORDS),
      .FRAMES_W    (FRAMES_W)
  ) u_length (
      .clk   (clk),
      .rst_n (rst_n),
      .start (start),
      .frames(frames),
      .total (length),
      .busy  (measuring)
  );
  assign loads = was_measuring && !measuring;

  // Words that have not come yet, and words that no burst was offered for yet.
  logic [WORDS_W-1:0] missing, left;
  // Words in the buffer that no burst was offered for yet.
  logic [COUNT_W-1:0] unclaimed;
  logic [ADDR_W-4:0] next, awaddr;
  logic [4:0] to_end, to_boundary, burst, beats, queued;
  logic [3:0] awlen, answers;
  logic issue, awvalid, push, fifo_ready, running, sent, next_burst, queued_valid, word_valid, answer;
  logic [PLACE_W-1:0] place, place_out;

  assign to_end        = (left < WORDS_W'(MOST)) ? left[4:0] : MOST;
  assign to_boundary   = (&next[8:4]) ? MOST - 5'(next[3:0]) : MOST;
  assign burst         = (to_end < to_boundary) ? to_end : to_boundary;

  assign s_axis_tready = fifo_ready && missing != '0 && !stop;
  assign push          = s_axis_tvalid && s_axis_tready;
  assign length_error  = push && s_axis_tlast != (place == PLACE_W'(FRAME_WORDS - 1));

  logic lengths_ready;
  assign issue = !stop && left != '0 && !awvalid && lengths_ready && answers != MOST_ANSWERS
      && unclaimed >= COUNT_W'(burst);
  assign answer = m_axi_bvalid && m_axi_bready;
  assign sent = m_axi_wvalid && m_axi_wready;
  assign next_burst = queued_valid && (beats == '0 || (beats == 5'd1 && sent));

  assign quiet = !awvalid && !queued_valid && beats == '0 && answers == '0;
  assign slave_error = answer && m_axi_bresp == 2'b10;
  assign decode_error = answer && m_axi_bresp == 2'b11;
  assign done = running && !measuring && !started && !loads && left == '0 && quiet;
  assign frame_done = sent && place_out == PLACE_W'(FRAME_WORDS - 1);

  assign m_axi_awaddr = {awaddr, 3'b000};
  assign m_axi_awlen = {4'b0000, awlen};
  assign m_axi_awsize = 3'd3;
  assign m_axi_awburst = 2'b01;
  assign m_axi_awcache = 4'b0011;
  assign m_axi_awprot = 3'b000;
  assign m_axi_awvalid = awvalid;
  assign m_axi_wstrb = 8'hff;
  assign m_axi_wlast = (beats == 5'd1);
  assign m_axi_wvalid = (beats != '0);
  assign m_axi_bready = (answers != '0);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      started       <= 1'b0;
      was_measuring <= 1'b0;
      running       <= 1'b0;
      missing       <= '0;
      left          <= '0;
      unclaimed     <= '0;
      awvalid       <= 1'b0;
      beats         <= '0;
      answers       <= '0;
      place         <= '0;
      place_out     <= '0;
    end else begin
      started       <= start;
      was_measuring <= measuring || started;
      if (start) running <= 1'b1;
      else if (done) running <= 1'b0;
      if (loads) missing <= WORDS_W'(length);
      else if (push) missing <= missing - 1'b1;
      if (loads) left <= WORDS_W'(length);
      else if (issue) left <= left - WORDS_W'(burst);
      unclaimed <= unclaimed + COUNT_W'(push) - (issue ? COUNT_W'(burst) : '0);
      if (issue) awvalid <= 1'b1;
      else if (m_axi_awready) awvalid <= 1'b0;
      if (next_burst) beats <= queued;
      else if (sent) beats <= beats - 5'd1;
      answers <= answers + 4'(issue) - 4'(answer);
      if (push) place <= (place == PLACE_W'(FRAME_WORDS - 1)) ? '0 : place + 1'b1;
      if (sent) place_out <= (place_out == PLACE_W'(FRAME_WORDS - 1)) ? '0 : place_out + 1'b1;
    end
    if (start) next <= address[ADDR_W-1:3];
    else if (issue) next <= next + (ADDR_W - 3)'(burst);
    if (issue) begin
      awaddr <= next;
      awlen  <= 4'(burst - 5'd1);
    end
  end

  // Lengths of the bursts whose addresses were taken.
  bnn_fifo #(
      .DATA_W    (5),
      .DEPTH     (4),
      .REGISTERED(0)
  ) u_lengths (
      .clk          (clk),
      .rst_n        (rst_n),
      .s_axis_tdata (5'(awlen) + 5'd1),
      .s_axis_tvalid(awvalid && m_axi_awready),
      .s_axis_tready(lengths_ready),
      .m_axis_tdata (queued),
      .m_axis_tvalid(queued_valid),
      .m_axis_tready(next_burst)
  );

  bnn_fifo #(
      .DATA_W    (64),
      .DEPTH     (FIFO_DEPTH),
      .REGISTERED(0)
  ) u_fifo (
      .clk          (clk),
      .rst_n        (rst_n),
      .s_axis_tdata (s_axis_tdata),
      .s_axis_tvalid(push),
      .s_axis_tready(fifo_ready),
      .m_axis_tdata (m_axi_wdata),
      .m_axis_tvalid(word_valid),
      .m_axis_tready(sent)
  );

  logic unused;
  assign unused = &{1'b0, word_valid, address[2:0], m_axi_bresp[0]};

endmodule

`default_nettype wire
