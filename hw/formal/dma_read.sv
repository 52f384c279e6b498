/// What bnn_dma_read promises: AXI's rules for its addresses, room for every word, order, and an end after `stop`.
///
/// The memory answers what it was asked, at any time and with any response. A word picked at any moment is followed:
/// `ahead` words are in the buffer before it, so it must be what leaves after them.
`default_nettype none

module dma_read #(
    /// Bytes of a frame [bytes].
    parameter int unsigned FRAME_BYTES = 20
) (
    input wire logic        clk,
    input wire logic        rst_n,
    input wire logic        start,
    input wire logic [12:0] address,
    input wire logic [ 1:0] frames,
    input wire logic        stop,
    input wire logic        m_axi_arready,
    input wire logic [63:0] m_axi_rdata,
    input wire logic [ 1:0] m_axi_rresp,
    input wire logic        m_axi_rlast,
    input wire logic        m_axi_rvalid,
    input wire logic        m_axis_tready,
    /// High where this word may be the one to follow.
    input wire logic        pick
);

  localparam int unsigned FIFO_DEPTH = 16;

  logic
      quiet,
      slave_error,
      decode_error,
      length_error,
      m_axi_arvalid,
      m_axi_rready,
      m_axis_tvalid,
      m_axis_tlast;
  logic [12:0] m_axi_araddr;
  logic [ 7:0] m_axi_arlen;
  logic [2:0] m_axi_arsize, m_axi_arprot;
  logic [ 1:0] m_axi_arburst;
  logic [ 3:0] m_axi_arcache;
  logic [63:0] m_axis_tdata;
  // Two bits stand for all: each bit of a word goes the same way.
  logic [ 1:0] word;

  bnn_dma_read #(
      .FRAME_BYTES(FRAME_BYTES),
      .ADDR_W     (13),
      .FIFO_DEPTH (FIFO_DEPTH),
      .FRAMES_W   (2)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(21)
  ) u_address_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata ({m_axi_araddr, m_axi_arlen}),
      .tvalid(m_axi_arvalid),
      .tready(m_axi_arready)
  );
`ifdef DATA
  localparam int unsigned STREAM_RULES_W = 3;
  logic [2:0] ruled;
  assign ruled = {m_axis_tlast, m_axis_tdata[1:0]};
`else
  // What the words say is for the bounded proof.
  localparam int unsigned STREAM_RULES_W = 1;
  logic ruled;
  assign ruled = 1'b0;
`endif
  axis_rules #(
      .DATA_W(STREAM_RULES_W)
  ) u_stream_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (ruled),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  // The unit's registers: connected when the hierarchy is gone.
  logic [4:0] spy_flying, spy_reserved, spy_count;

  logic begun = 1'b0;
  logic once = 1'b0;
  logic stopped = 1'b0;
  logic was_valid = 1'b0;
  logic following, asks, comes, kept, leaves;
  // Words asked for whose answer is due, words in the buffer, words that left or were kept in all.
  logic [7:0] due, stored, ahead, sent, expected;

  assign asks   = m_axi_arvalid && m_axi_arready;
  assign comes  = m_axi_rvalid && m_axi_rready;
  assign kept   = comes && !m_axi_rresp[1] && !stop;
  assign leaves = m_axis_tvalid && m_axis_tready;

  always_ff @(posedge clk) begin
    begun     <= 1'b1;
    stopped   <= rst_n && stop;
    was_valid <= m_axi_arvalid;
    once      <= rst_n && (once || start);
    if (!rst_n) begin
      due       <= '0;
      stored    <= '0;
      sent      <= '0;
      expected  <= '0;
      following <= 1'b0;
    end else begin
      due    <= due + (asks ? m_axi_arlen + 8'd1 : 8'd0) - 8'(comes);
      stored <= stored + 8'(kept) - 8'(leaves);
      sent   <= sent + 8'(leaves);
      if (start) expected <= (8'(frames) * 8'(FRAME_BYTES) + 8'd7) >> 3;
      if (!following) begin
        following <= kept && pick;
        word      <= m_axi_rdata[1:0];
        ahead     <= stored - 8'(leaves);
      end else if (leaves) begin
        following <= (ahead != '0);
        ahead     <= ahead - 8'd1;
      end
    end
  end

  always_comb begin
    // One transfer after each reset; `stop` is for good; the memory says only what it was asked.
    assume (!start || !once);
    assume (!stopped || stop || !rst_n);
    assume (!m_axi_rvalid || due != '0);
    if (!begun)
      assume (!rst_n);
      else begin
        if (m_axi_arvalid) begin
          assert (m_axi_arlen < 8'd16);
          assert (m_axi_araddr[2:0] == 3'd0);
          assert (10'(m_axi_araddr[11:3]) + 10'(m_axi_arlen) < 10'd512);
          assert (m_axi_arsize == 3'd3 && m_axi_arburst == 2'b01);
        end
        // Every answer is taken at once, and there is a place for it.
        if (m_axi_rvalid) assert (m_axi_rready);
        assert (due + stored + (m_axi_arvalid ? m_axi_arlen + 8'd1 : 8'd0) <= 8'(FIFO_DEPTH));
        assert (due <= 8'(FIFO_DEPTH) && stored <= 8'(FIFO_DEPTH));
        assert (m_axis_tvalid == (stored != '0));
        // After `stop` no address appears, and quiet means that nothing is due.
        if (stopped && !was_valid) assert (!m_axi_arvalid);
        if (quiet) assert (due == '0 && !m_axi_arvalid);
`ifdef RULES
        // What they follow from.
        assert (8'(spy_flying) == due + (m_axi_arvalid ? m_axi_arlen + 8'd1 : 8'd0));
        assert (8'(spy_count) == stored && spy_reserved <= 5'(FIFO_DEPTH));
        assert (8'(spy_reserved) >= 8'(spy_flying) + stored);
`endif
`ifdef DATA
        // Never more words than a transfer has, and the last one is marked.
        if (leaves) assert (sent < expected);
        if (leaves) assert (m_axis_tlast == (sent == expected - 8'd1));
        if (following && leaves && ahead == '0) assert (m_axis_tdata[1:0] == word);
`endif
      end
  end

endmodule

`default_nettype wire
