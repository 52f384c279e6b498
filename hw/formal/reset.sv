/// One cycle of reset leads to one and the same behaviour, whatever the state before.
///
/// Two copies of a unit start in any two states; both are reset in the first cycle, and whenever rst_n is low again.
/// From then on, with the same inputs, they give the same outputs. tdata and tlast count only while tvalid is high.
/// The first copy also keeps AXI-Stream's rules, whatever its other side does.
/// The unit is the macro UNIT, its parameters the macro PARAMETERS.
`default_nettype none

module reset #(
    /// Bits of an input beat [bits].
    parameter int unsigned IN_W  = 1,
    /// Bits of an output beat [bits].
    parameter int unsigned OUT_W = 1
) (
    input wire logic            clk,
    input wire logic            rst_n,
    input wire logic [IN_W-1:0] s_axis_tdata,
    input wire logic            s_axis_tvalid,
    input wire logic            m_axis_tready
);

  logic begun = 1'b0;
  logic ready_a, ready_b, valid_a, valid_b, last_a, last_b;
  logic [OUT_W-1:0] data_a, data_b;

  `UNIT #(
  `PARAMETERS
  ) u_a (
      .s_axis_tready(ready_a),
      .m_axis_tvalid(valid_a),
      .m_axis_tdata (data_a),
`ifdef TLAST
      .m_axis_tlast (last_a),
`endif
      .*
  );
  `UNIT #(
  `PARAMETERS
  ) u_b (
      .s_axis_tready(ready_b),
      .m_axis_tvalid(valid_b),
      .m_axis_tdata (data_b),
`ifdef TLAST
      .m_axis_tlast (last_b),
`endif
      .*
  );
`ifndef TLAST
  assign last_a = 1'b0;
  assign last_b = 1'b0;
`endif

  axis_rules #(
      .DATA_W(1 + OUT_W)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata ({last_a, data_a}),
      .tvalid(valid_a),
      .tready(m_axis_tready)
  );

  always_ff @(posedge clk) begun <= 1'b1;

  always_comb begin
    if (!begun)
      assume (!rst_n);
      else begin
        assert (ready_a == ready_b);
        assert (valid_a == valid_b);
        if (valid_a) begin
          assert (data_a == data_b);
          assert (last_a == last_b);
        end
      end
  end

endmodule

`default_nettype wire
