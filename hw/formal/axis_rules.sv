/// AXI-Stream's rules for the sender of a stream, as assertions.
///
/// Once high, tvalid stays high and tdata stays the same until tready; in the cycle after reset tvalid is low.
`default_nettype none

module axis_rules #(
    /// Bits of tdata [bits].
    parameter int unsigned DATA_W = 8
) (
    input wire logic              clk,
    input wire logic              rst_n,
    input wire logic [DATA_W-1:0] tdata,
    input wire logic              tvalid,
    input wire logic              tready
);

  logic waited = 1'b0;
  logic was_reset = 1'b0;
  logic [DATA_W-1:0] previous;

  always_ff @(posedge clk) begin
    waited    <= rst_n && tvalid && !tready;
    was_reset <= !rst_n;
    previous  <= tdata;
  end

  always_comb begin
    if (waited) begin
      assert (tvalid);
      assert (tdata == previous);
    end
    if (was_reset) assert (!tvalid);
  end

endmodule

`default_nettype wire
