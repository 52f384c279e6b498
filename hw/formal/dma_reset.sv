/// What bnn_dma_reset promises: a reset only where the bus is quiet, `stop` before it, and an end.
`default_nettype none

module dma_reset #(
    /// Cycles of reset [cycles].
    parameter int unsigned CLEAR_CYCLES = 3
) (
    input wire logic clk,
    input wire logic rst_n,
    input wire logic request,
    input wire logic quiet,
    input wire logic idle
);

  logic stop, busy, core_rst_n;

  bnn_dma_reset #(.CLEAR_CYCLES(CLEAR_CYCLES)) u_dut (.*);

  logic begun = 1'b0;
  logic was_quiet = 1'b0;
  logic was_stop = 1'b0;
  logic was_reset = 1'b0;
  logic was_low = 1'b0;
  logic was_asked = 1'b0;
  // Whether a request came while no reset was under way.
  logic [7:0] low, waited;

  always_ff @(posedge clk) begin
    begun     <= 1'b1;
    was_quiet <= quiet && idle;
    was_stop  <= stop;
    was_reset <= !rst_n;
    was_low   <= !core_rst_n;
    was_asked <= rst_n && request && !busy;
    low       <= (rst_n && !core_rst_n) ? low + 8'd1 : 8'd0;
    waited    <= (rst_n && busy && quiet && idle) ? waited + 8'd1 : 8'd0;
  end

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else begin
        if (was_reset) assert (!core_rst_n && !stop && !busy);
        // A reset begins only after a cycle in which `stop` was high and the bus quiet.
        if (!was_reset && !core_rst_n && !was_low) assert (was_stop && was_quiet && busy);
        // It is over before anything may start, and takes its cycles.
        if (!was_reset && !core_rst_n) assert (!stop);
        if (!was_reset && was_low && core_rst_n && low > 8'd1) assert (low >= 8'(CLEAR_CYCLES));
        // A request is heard, and a quiet bus lets it end.
        if (was_asked) assert (busy);
        assert (waited <= 8'(CLEAR_CYCLES + 1));
      end
  end

endmodule

`default_nettype wire
