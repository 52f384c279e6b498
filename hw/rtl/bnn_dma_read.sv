/// Read side of a DMA: fetches frames from memory over AXI4 and sends them as a stream of 64-bit words.
///
/// Frames lie back to back, byte after byte, so a frame may begin within a word; the last word of a transfer is filled
/// up with whatever the memory holds. m_axis_tlast marks it. INCR bursts of at most 16 words, none across a 4 KiB
/// boundary. A burst is asked for only where the buffer has room for all of it, so m_axi_rready never keeps the
/// interconnect waiting.
/// `stop` lets no further burst begin and drops what still arrives; a burst that was offered stays offered, and is
/// received to its end. `quiet` says that nothing is under way on the bus. After `stop` only a reset makes it
/// usable again, and a reset must wait for `quiet`.
/// `slave_error`, `decode_error` and `length_error` are 1 in the cycle in which such an answer comes; a length error
/// is an RLAST too early or too late. The word of an error answer is dropped.
///
/// Latency: the first address is offered at the latest 35 cycles after `start` (bnn_dma_length), a word leaves in the
///   cycle after it came.
/// II: 1 cycle a word, while the memory answers an address within FIFO_DEPTH - 16 cycles.
`default_nettype none

module bnn_dma_read #(
    /// Bytes of a frame in memory [bytes], >= 1.
    parameter int unsigned FRAME_BYTES = 784,
    /// Bits of an address [bits], 13 to 64.
    parameter int unsigned ADDR_W      = 40,
    /// Words of the buffer [words], >= 16.
    parameter int unsigned FIFO_DEPTH  = 64,
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
    output wire logic                slave_error,
    output wire logic                decode_error,
    output wire logic                length_error,
    output wire logic [  ADDR_W-1:0] m_axi_araddr,
    output wire logic [         7:0] m_axi_arlen,
    output wire logic [         2:0] m_axi_arsize,
    output wire logic [         1:0] m_axi_arburst,
    output wire logic [         3:0] m_axi_arcache,
    output wire logic [         2:0] m_axi_arprot,
    output wire logic                m_axi_arvalid,
    input  wire logic                m_axi_arready,
    input  wire logic [        63:0] m_axi_rdata,
    input  wire logic [         1:0] m_axi_rresp,
    input  wire logic                m_axi_rlast,
    input  wire logic                m_axi_rvalid,
    output wire logic                m_axi_rready,
    output wire logic [        63:0] m_axis_tdata,
    output wire logic                m_axis_tvalid,
    output wire logic                m_axis_tlast,
    input  wire logic                m_axis_tready
);

  localparam int unsigned BYTES_W = FRAMES_W + $clog2(FRAME_BYTES + 1);
  localparam int unsigned WORDS_W = (BYTES_W > 8) ? BYTES_W - 2 : 6;
  localparam int unsigned COUNT_W = $clog2(FIFO_DEPTH + 1);
  localparam logic [4:0] MOST = 5'd16;

  if (FRAME_BYTES < 1) begin : g_illegal_frame
    $error("bnn_dma_read: FRAME_BYTES is %0d, it must be at least 1", FRAME_BYTES);
  end
  if (FIFO_DEPTH < 16) begin : g_illegal_depth
    $error("bnn_dma_read: FIFO_DEPTH is %0d, it must hold a burst of 16", FIFO_DEPTH);
  end
  if (ADDR_W < 13 || ADDR_W > 64) begin : g_illegal_address
    $error("bnn_dma_read: ADDR_W is %0d, it must be 13 to 64", ADDR_W);
  end

  logic [BYTES_W-1:0] bytes;
  logic measuring, was_measuring, started;

  bnn_dma_length #(
      .FRAME_LENGTH(FRAME_BYTES),
      .FRAMES_W    (FRAMES_W)
  ) u_length (
      .clk   (clk),
      .rst_n (rst_n),
      .start (start),
      .frames(frames),
      .total (bytes),
      .busy  (measuring)
  );

  // Words that are not asked for yet, and those that have not left yet.
  logic [WORDS_W-1:0] words, left, unsent;
  logic [ADDR_W-4:0] next;
  logic [4:0] to_end, to_boundary, burst;
  logic issue, take, pop, tvalid, tready, loads;

  assign words       = WORDS_W'((BYTES_W + 1)'(bytes) + (BYTES_W + 1)'(7) >> 3);
  assign loads       = was_measuring && !measuring;
  assign to_end      = (left < WORDS_W'(MOST)) ? left[4:0] : MOST;
  assign to_boundary = (&next[8:4]) ? MOST - 5'(next[3:0]) : MOST;
  assign burst       = (to_end < to_boundary) ? to_end : to_boundary;

  // Words in the buffer or on their way to it, words on their way, and bursts on their way.
  logic [COUNT_W-1:0] reserved, flying, bursts;
  logic arvalid, answer, last_answer;
  logic [ADDR_W-4:0] araddr;
  logic [3:0] arlen;

  assign issue = !stop && left != '0 && (!arvalid || m_axi_arready)
      && COUNT_W'(FIFO_DEPTH) - reserved >= COUNT_W'(burst);
  assign answer = m_axi_rvalid && m_axi_rready;
  assign last_answer = answer && m_axi_rlast;
  assign take = answer && !m_axi_rresp[1] && !stop;
  assign pop = tvalid && tready;

  assign quiet = !arvalid && flying == '0;
  assign slave_error = answer && m_axi_rresp == 2'b10;
  assign decode_error = answer && m_axi_rresp == 2'b11;
  // The bursts end with the words: the last word of all that are on their way is the last one of a burst.
  assign length_error = answer && ((flying == COUNT_W'(1)) != (m_axi_rlast && bursts == COUNT_W'(1)));

  assign m_axi_araddr = {araddr, 3'b000};
  assign m_axi_arlen = {4'b0000, arlen};
  assign m_axi_arsize = 3'd3;
  assign m_axi_arburst = 2'b01;
  assign m_axi_arcache = 4'b0011;
  assign m_axi_arprot = 3'b000;
  assign m_axi_arvalid = arvalid;
  assign m_axi_rready = (flying != '0);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      started       <= 1'b0;
      was_measuring <= 1'b0;
      left          <= '0;
      unsent        <= '0;
      arvalid       <= 1'b0;
      reserved      <= '0;
      flying        <= '0;
      bursts        <= '0;
    end else begin
      started       <= start;
      was_measuring <= measuring || started;
      if (loads) left <= words;
      else if (issue) left <= left - WORDS_W'(burst);
      if (loads) unsent <= words;
      else if (pop) unsent <= unsent - 1'b1;
      if (issue) arvalid <= 1'b1;
      else if (m_axi_arready) arvalid <= 1'b0;
      reserved <= reserved + (issue ? COUNT_W'(burst) : '0) - COUNT_W'(pop);
      flying   <= flying + (issue ? COUNT_W'(burst) : '0) - COUNT_W'(answer);
      bursts   <= bursts + COUNT_W'(issue) - COUNT_W'(last_answer && bursts != '0);
    end
    if (start) next <= address[ADDR_W-1:3];
    else if (issue) next <= next + (ADDR_W - 3)'(burst);
    if (issue) begin
      araddr <= next;
      arlen  <= 4'(burst - 5'd1);
    end
  end

  assign m_axis_tvalid = tvalid;
  assign m_axis_tlast  = (unsent == WORDS_W'(1));
  assign tready        = m_axis_tready;

  logic unused_ready;
  bnn_fifo #(
      .DATA_W    (64),
      .DEPTH     (FIFO_DEPTH),
      .REGISTERED(0)
  ) u_fifo (
      .clk          (clk),
      .rst_n        (rst_n),
      .s_axis_tdata (m_axi_rdata),
      .s_axis_tvalid(take),
      .s_axis_tready(unused_ready),
      .m_axis_tdata (m_axis_tdata),
      .m_axis_tvalid(tvalid),
      .m_axis_tready(tready)
  );

  logic unused;
  assign unused = &{1'b0, unused_ready, address[2:0], m_axi_rresp[0]};

endmodule

`default_nettype wire
