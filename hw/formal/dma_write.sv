/// What bnn_dma_write promises: AXI's rules for addresses and words, every word in its place, and an end after `stop`.
///
/// The memory takes and answers at any time and with any response, each burst once. A word picked at any moment is
/// followed: it must be the one that leaves as the same one in the row.
`default_nettype none

module dma_write #(
    /// Words of a frame [64-bit words].
    parameter int unsigned FRAME_WORDS = 3
) (
    input wire logic        clk,
    input wire logic        rst_n,
    input wire logic        start,
    input wire logic [12:0] address,
    input wire logic [ 1:0] frames,
    input wire logic        stop,
    input wire logic [63:0] s_axis_tdata,
    input wire logic        s_axis_tvalid,
    input wire logic        s_axis_tlast,
    input wire logic        m_axi_awready,
    input wire logic        m_axi_wready,
    input wire logic [ 1:0] m_axi_bresp,
    input wire logic        m_axi_bvalid,
    /// High where this word may be the one to follow.
    input wire logic        pick
);

  logic quiet, done, frame_done, slave_error, decode_error, length_error, s_axis_tready;
  logic m_axi_awvalid, m_axi_wvalid, m_axi_wlast, m_axi_bready;
  logic [12:0] m_axi_awaddr;
  logic [7:0] m_axi_awlen, m_axi_wstrb;
  logic [2:0] m_axi_awsize, m_axi_awprot;
  logic [ 1:0] m_axi_awburst;
  logic [ 3:0] m_axi_awcache;
  logic [63:0] m_axi_wdata;
  // Two bits stand for all: each bit of a word goes the same way.
  logic [ 1:0] word;

  bnn_dma_write #(
      .FRAME_WORDS(FRAME_WORDS),
      .ADDR_W     (13),
      .FIFO_DEPTH (32),
      .FRAMES_W   (2)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(21)
  ) u_address_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata ({m_axi_awaddr, m_axi_awlen}),
      .tvalid(m_axi_awvalid),
      .tready(m_axi_awready)
  );
`ifdef DATA
  localparam int unsigned WORD_RULES_W = 3;
  logic [2:0] ruled;
  assign ruled = {m_axi_wlast, m_axi_wdata[1:0]};
`else
  // The word itself stands in a memory of many bits; the bounded proof looks at it.
  localparam int unsigned WORD_RULES_W = 1;
  logic ruled;
  assign ruled = m_axi_wlast;
`endif
  axis_rules #(
      .DATA_W(WORD_RULES_W)
  ) u_word_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (ruled),
      .tvalid(m_axi_wvalid),
      .tready(m_axi_wready)
  );

  // The unit's registers: connected when the hierarchy is gone.
  logic [4:0] spy_beats, spy_length_0, spy_length_1, spy_length_2, spy_length_3;
  logic [19:0] lengths;
  logic [5:0] spy_unclaimed, spy_stored;
  logic [3:0] spy_answers;
  logic [2:0] spy_queue;
  logic [1:0] spy_head, spy_tail;
  // Words of the bursts that wait in the queue of lengths, and whether none of them is empty.
  logic [7:0] queued;
  logic whole;
  logic [1:0] away;

  assign lengths = {spy_length_3, spy_length_2, spy_length_1, spy_length_0};
  always_comb begin
    queued = '0;
    whole  = 1'b1;
    for (int i = 0; i < 4; i++) begin
      away = 2'(i) - spy_head;
      if ({1'b0, away} < spy_queue) begin
        queued = queued + 8'(lengths[5*i+:5]);
        if (lengths[5*i+:5] == '0 || lengths[5*i+:5] > 5'd16) whole = 1'b0;
      end
    end
  end

  logic begun = 1'b0;
  logic once = 1'b0;
  logic stopped = 1'b0;
  logic was_valid = 1'b0;
  logic following, asks, comes, leaves, ends, answered;
  // Words of addresses taken that have not left; words that came, left, and are expected; bursts without an answer.
  logic [7:0] due, came, sent, expected, place, bursts;

  assign asks     = m_axi_awvalid && m_axi_awready;
  assign comes    = s_axis_tvalid && s_axis_tready;
  assign leaves   = m_axi_wvalid && m_axi_wready;
  assign ends     = leaves && m_axi_wlast;
  assign answered = m_axi_bvalid && m_axi_bready;

  always_ff @(posedge clk) begin
    begun     <= 1'b1;
    stopped   <= rst_n && stop;
    was_valid <= m_axi_awvalid;
    once      <= rst_n && (once || start);
    if (!rst_n) begin
      due       <= '0;
      came      <= '0;
      sent      <= '0;
      expected  <= '0;
      bursts    <= '0;
      following <= 1'b0;
    end else begin
      due    <= due + (asks ? m_axi_awlen + 8'd1 : 8'd0) - 8'(leaves);
      came   <= came + 8'(comes);
      sent   <= sent + 8'(leaves);
      bursts <= bursts + 8'(ends) - 8'(answered);
      if (start) expected <= 8'(frames) * 8'(FRAME_WORDS);
      if (!following) begin
        following <= comes && pick;
        word      <= s_axis_tdata[1:0];
        place     <= came;
      end else if (leaves && sent == place) begin
        following <= 1'b0;
      end
    end
  end

  always_comb begin
    // One transfer after each reset; `stop` is for good; the memory answers a burst after its last word.
    assume (!start || !once);
    assume (!stopped || stop || !rst_n);
    assume (!m_axi_bvalid || bursts != '0);
    if (!begun)
      assume (!rst_n);
      else begin
        if (m_axi_awvalid) begin
          assert (m_axi_awlen < 8'd16);
          assert (m_axi_awaddr[2:0] == 3'd0);
          assert (10'(m_axi_awaddr[11:3]) + 10'(m_axi_awlen) < 10'd512);
          assert (m_axi_awsize == 3'd3 && m_axi_awburst == 2'b01);
        end
        // A word leaves after its address was taken; the last one of all that are due ends a burst.
        if (m_axi_wvalid) assert (due != '0 && m_axi_wstrb == 8'hff);
        if (leaves && due == 8'd1) assert (m_axi_wlast);
        if (m_axi_bvalid) assert (m_axi_bready);
        // After `stop` no address appears, and quiet means that nothing is due.
        if (stopped && !was_valid) assert (!m_axi_awvalid);
        if (quiet) assert (due == '0 && bursts == '0 && !m_axi_awvalid);
`ifdef RULES
        // What they follow from.
        assert (spy_beats <= 5'd16 && whole && spy_tail == spy_head + spy_queue[1:0]);
        assert (4'(spy_queue) + 4'(m_axi_awvalid) <= 4'd4);
        assert (due == 8'(spy_beats) + queued);
        assert (8'(spy_stored) == due + 8'(spy_unclaimed) + (m_axi_awvalid ? m_axi_awlen + 8'd1 : 8'd0));
        assert (spy_stored <= 6'd32 && due <= 8'd32 && bursts <= 8'd15);
        assert (8'(spy_answers) == bursts + 8'(spy_queue) + 8'(m_axi_awvalid) + 8'(spy_beats != '0));
`endif
`ifdef DATA
        if (leaves) assert (sent < came);
        if (comes) assert (came < expected);
        if (done) assert (sent == expected && came == expected);
        if (following && leaves && sent == place) assert (m_axi_wdata[1:0] == word);
        if (comes) assert (length_error == (s_axis_tlast != (came % 8'(FRAME_WORDS) == 8'(FRAME_WORDS - 1))));
`endif
      end
  end

endmodule

`default_nettype wire
