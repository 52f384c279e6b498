/// What bnn_fifo promises: words leave in order, none is lost, doubled or invented, and it never overflows.
///
/// A word picked at any moment is followed: `ahead` words are stored before it, so it must be what leaves after them.
`default_nettype none

module fifo #(
    /// Bits of a word [bits].
    parameter int unsigned DATA_W     = 2,
    /// Words stored at most [words].
    parameter int unsigned DEPTH      = 2,
    /// 1: the memory has a registered read port.
    parameter bit          REGISTERED = 1'b0
) (
    input wire logic              clk,
    input wire logic              rst_n,
    input wire logic [DATA_W-1:0] s_axis_tdata,
    input wire logic              s_axis_tvalid,
    input wire logic              m_axis_tready,
    /// High where this word may be the one to follow.
    input wire logic              pick
);

  localparam int unsigned COUNT_W = $clog2(DEPTH + 2);

  logic s_axis_tready, m_axis_tvalid, push, pop;
  logic [DATA_W-1:0] m_axis_tdata, word;
  logic [COUNT_W-1:0] stored, ahead;
  logic begun = 1'b0;
  logic following;

  bnn_fifo #(
      .DATA_W    (DATA_W),
      .DEPTH     (DEPTH),
      .REGISTERED(REGISTERED)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(DATA_W)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axis_tdata),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (!rst_n) begin
      stored    <= '0;
      following <= 1'b0;
    end else begin
      stored <= stored + COUNT_W'(push) - COUNT_W'(pop);
      if (!following) begin
        following <= push && pick;
        word      <= s_axis_tdata;
        ahead     <= stored - COUNT_W'(pop);
      end else if (pop) begin
        following <= (ahead != '0);
        ahead     <= ahead - 1'b1;
      end
    end
  end

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else begin
        assert (stored <= COUNT_W'(DEPTH));
        assert (m_axis_tvalid == (stored != '0));
        assert (s_axis_tready == (stored != COUNT_W'(DEPTH)));
        if (following && pop && ahead == '0) assert (m_axis_tdata == word);
      end
  end

endmodule

`default_nettype wire
