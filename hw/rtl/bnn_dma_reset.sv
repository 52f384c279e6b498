/// Soft reset of an accelerator with its DMA, in the order that AXI asks for.
///
/// After `request` it first holds `stop` until all bursts that were offered have come to their end (`quiet`) and no
/// register access is under way (`idle`), and then `core_rst_n` low for CLEAR_CYCLES cycles. A bus that never answers
/// keeps it waiting, and `busy` high; rst_n ends that.
///
/// Latency: CLEAR_CYCLES + 2 cycles from `request`, where the bus is quiet.
/// II: one reset at a time; a request during one is part of it.
`default_nettype none

module bnn_dma_reset #(
    /// Cycles of reset [cycles], >= 1.
    parameter int unsigned CLEAR_CYCLES = 8
) (
    input  wire logic clk,
    input  wire logic rst_n,
    input  wire logic request,
    input  wire logic quiet,
    input  wire logic idle,
    output wire logic stop,
    output wire logic busy,
    output wire logic core_rst_n
);

  localparam int unsigned COUNT_W = $clog2(CLEAR_CYCLES + 1);

  if (CLEAR_CYCLES < 1) begin : g_illegal
    $error("bnn_dma_reset: CLEAR_CYCLES is %0d, it must be at least 1", CLEAR_CYCLES);
  end

  logic draining, hold;
  logic [COUNT_W-1:0] left;

  assign stop       = draining;
  assign busy       = draining || left != '0;
  assign core_rst_n = hold;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      draining <= 1'b0;
      left     <= '0;
      hold     <= 1'b0;
    end else begin
      if (left != '0) begin
        left <= left - 1'b1;
      end else if (draining && quiet && idle) begin
        draining <= 1'b0;
        left     <= COUNT_W'(CLEAR_CYCLES);
      end else if (request) begin
        draining <= 1'b1;
      end
      hold <= (left == '0 || left == COUNT_W'(1)) && !(draining && quiet && idle);
    end
  end

endmodule

`default_nettype wire
