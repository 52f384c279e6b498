/// Length of a transfer: a number of frames times the length of a frame, one bit of the number a cycle.
///
/// Latency: `busy` falls and `total` holds at the latest FRAMES_W + 1 cycles after `start`, sooner for few frames.
/// II: one product at a time; `start` begins anew.
`default_nettype none

module bnn_dma_length #(
    /// Length of a frame, >= 1.
    parameter int unsigned FRAME_LENGTH = 98,
    /// Bits of the number of frames [bits].
    parameter int unsigned FRAMES_W     = 32,
    /// Bits of the product [bits].
    parameter int unsigned TOTAL_W      = FRAMES_W + $clog2(FRAME_LENGTH + 1)
) (
    input  wire logic                clk,
    input  wire logic                rst_n,
    input  wire logic                start,
    input  wire logic [FRAMES_W-1:0] frames,
    output wire logic [ TOTAL_W-1:0] total,
    output wire logic                busy
);

  if (FRAME_LENGTH < 1) begin : g_illegal
    $error("bnn_dma_length: FRAME_LENGTH is %0d, it must be at least 1", FRAME_LENGTH);
  end

  logic [TOTAL_W-1:0] sum, addend;
  logic [FRAMES_W-1:0] rest;

  assign total = sum;
  assign busy  = (rest != '0);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      rest <= '0;
      sum  <= '0;
    end else if (start) begin
      rest <= frames;
      sum  <= '0;
    end else if (busy) begin
      rest <= rest >> 1;
      if (rest[0]) sum <= sum + addend;
    end
    if (start) addend <= TOTAL_W'(FRAME_LENGTH);
    else addend <= addend << 1;
  end

endmodule

`default_nettype wire
