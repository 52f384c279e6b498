/// First-in first-out buffer of DEPTH words that keeps both sides running at full rate.
///
/// The word at the head is read straight from the memory (distributed RAM on an FPGA), or with REGISTERED = 1 it stands in
/// a register that is loaded from the memory, or past it where the memory has no word to come (fit for block RAM). From
/// outside both are the same. s_axis_tready depends on registers only, so a chain of units with combinational ready
/// paths is cut here.
///
/// Latency: 1 cycle; a word accepted in cycle t can leave in cycle t + 1.
/// II: 1 cycle a word. A word is accepted in every cycle in which fewer than DEPTH are stored at its start.
`default_nettype none

module bnn_fifo #(
    /// Bits of a word [bits], >= 1.
    parameter int unsigned DATA_W     = 8,
    /// Words stored at most [words], >= 2: with one word, neither side could run at full rate.
    parameter int unsigned DEPTH      = 2,
    /// 1: the memory has a registered read port.
    parameter bit          REGISTERED = (DEPTH > 512)
) (
    input  wire logic              clk,
    input  wire logic              rst_n,
    input  wire logic [DATA_W-1:0] s_axis_tdata,
    input  wire logic              s_axis_tvalid,
    output wire logic              s_axis_tready,
    output wire logic [DATA_W-1:0] m_axis_tdata,
    output wire logic              m_axis_tvalid,
    input  wire logic              m_axis_tready
);

  localparam int unsigned PTR_W = $clog2(DEPTH);
  localparam int unsigned COUNT_W = $clog2(DEPTH + 1);

  if (DATA_W < 1) begin : g_illegal_data_w
    $error("bnn_fifo: DATA_W is %0d, it must be at least 1", DATA_W);
  end
  if (DEPTH < 2) begin : g_illegal_depth
    $error("bnn_fifo: DEPTH is %0d, it must be at least 2", DEPTH);
  end

  logic [DATA_W-1:0] words[DEPTH];
  logic [PTR_W-1:0] head, tail;
  logic [COUNT_W-1:0] count;
  logic push, pop;

  assign s_axis_tready = (count != COUNT_W'(DEPTH));
  assign m_axis_tvalid = (count != '0);
  assign push          = s_axis_tvalid && s_axis_tready;
  assign pop           = m_axis_tvalid && m_axis_tready;

  if (REGISTERED) begin : g_registered
    logic [DATA_W-1:0] fetched, passed;
    logic [PTR_W-1:0] head_next;
    logic past;

    // The word behind the head was written in a cycle before this one, or there is none.
    assign head_next    = (head == PTR_W'(DEPTH - 1)) ? '0 : head + 1'b1;
    assign m_axis_tdata = past ? passed : fetched;
    always_ff @(posedge clk) begin
      if (pop) fetched <= words[head_next];
      if (push && count == COUNT_W'(pop)) begin
        passed <= s_axis_tdata;
        past   <= 1'b1;
      end else if (pop) begin
        past <= 1'b0;
      end
    end
  end else begin : g_direct
    assign m_axis_tdata = words[head];
  end

  always_ff @(posedge clk) begin
    if (push) words[tail] <= s_axis_tdata;
    if (!rst_n) begin
      head  <= '0;
      tail  <= '0;
      count <= '0;
    end else begin
      if (push) tail <= (tail == PTR_W'(DEPTH - 1)) ? '0 : tail + 1'b1;
      if (pop) head <= (head == PTR_W'(DEPTH - 1)) ? '0 : head + 1'b1;
      if (push && !pop) count <= count + 1'b1;
      if (pop && !push) count <= count - 1'b1;
    end
  end

endmodule

`default_nettype wire
