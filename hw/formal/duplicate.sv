/// What bnn_duplicate promises: every beat leaves once at each output, whatever the other outputs do.
`default_nettype none

module duplicate #(
    /// Bits of a beat [bits].
    parameter int unsigned DATA_W = 2,
    /// Outputs.
    parameter int unsigned COPIES = 2
) (
    input wire logic              clk,
    input wire logic              rst_n,
    input wire logic [DATA_W-1:0] s_axis_tdata,
    input wire logic              s_axis_tvalid,
    input wire logic [COPIES-1:0] m_axis_tready
);

  logic s_axis_tready, push;
  logic [COPIES*DATA_W-1:0] m_axis_tdata;
  logic [COPIES-1:0] m_axis_tvalid, pop, done;
  logic [DATA_W-1:0] last;
  logic begun = 1'b0;

  bnn_duplicate #(
      .DATA_W(DATA_W),
      .COPIES(COPIES)
  ) u_dut (
      .*
  );

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid & m_axis_tready;

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (push) last <= s_axis_tdata;
  end

  for (genvar i = 0; i < COPIES; i++) begin : g_output
    // Beats that came in and have not left here.
    logic [1:0] owed;

    axis_rules #(
        .DATA_W(DATA_W)
    ) u_rules (
        .clk   (clk),
        .rst_n (rst_n),
        .tdata (m_axis_tdata[i*DATA_W+:DATA_W]),
        .tvalid(m_axis_tvalid[i]),
        .tready(m_axis_tready[i])
    );

    always_ff @(posedge clk) begin
      if (!rst_n) owed <= '0;
      else owed <= owed + 2'(push) - 2'(pop[i]);
    end
    assign done[i] = (owed == 2'(pop[i]));

    always_comb begin
      if (begun) begin
        assert (m_axis_tvalid[i] == (owed != '0));
        assert (owed <= 2'd1);
        if (m_axis_tvalid[i]) assert (m_axis_tdata[i*DATA_W+:DATA_W] == last);
      end
    end
  end

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else assert (s_axis_tready == (done == '1));
  end

endmodule

`default_nettype wire
