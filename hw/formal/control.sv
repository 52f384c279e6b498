/// What bnn_control promises: every request is answered once, a write with SLVERR exactly where it changes nothing; the
/// registers hold what was written, byte by byte, FRAME counts the frames that begin, and the generators begin anew
/// exactly after a write that was accepted.
///
/// The registers are modelled here. That the unit's own, which the wires named spy are connected to, agree with the
/// model makes the promises inductive.
`default_nettype none

module control #(
    /// Input beats of a frame.
    parameter int unsigned IN_BEATS = 3
) (
    input wire logic        clk,
    input wire logic        rst_n,
    input wire logic [ 3:0] s_axil_awaddr,
    input wire logic        s_axil_awvalid,
    input wire logic [31:0] s_axil_wdata,
    input wire logic [ 3:0] s_axil_wstrb,
    input wire logic        s_axil_wvalid,
    input wire logic        s_axil_bready,
    input wire logic [ 3:0] s_axil_araddr,
    input wire logic        s_axil_arvalid,
    input wire logic        s_axil_rready,
    input wire logic        beat_in,
    input wire logic        last_out
);

  localparam int unsigned BEAT_W = (IN_BEATS > 1) ? $clog2(IN_BEATS) : 1;

  logic s_axil_awready, s_axil_wready, s_axil_bvalid, s_axil_arready, s_axil_rvalid, restart;
  logic [1:0] s_axil_bresp, s_axil_rresp;
  logic [31:0] s_axil_rdata, seed, frame;
  // The unit's registers: connected when the hierarchy is gone.
  logic [31:0] spy_next_frame, spy_on_their_way;
  logic [BEAT_W-1:0] spy_beat;

  bnn_control #(.IN_BEATS(IN_BEATS)) u_dut (.*);
  axis_rules #(
      .DATA_W(2)
  ) u_write_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (s_axil_bresp),
      .tvalid(s_axil_bvalid),
      .tready(s_axil_bready)
  );
  axis_rules #(
      .DATA_W(34)
  ) u_read_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata ({s_axil_rresp, s_axil_rdata}),
      .tvalid(s_axil_rvalid),
      .tready(s_axil_rready)
  );

  // The model: the registers, frames and beats on their way, and the answers that are due.
  logic [31:0] seed_register, frame_register, first, flight, answer, written;
  logic [BEAT_W-1:0] beat;
  logic [1:0] response;
  logic begun = 1'b0;
  logic takes, reads, begins, busy, accepted, write_due, read_due, anew;

  assign takes    = s_axil_awvalid && s_axil_awready;
  assign reads    = s_axil_arvalid && s_axil_arready;
  assign begins   = beat_in && beat == '0;
  assign busy     = flight != '0 || begins;
  assign accepted = takes && !busy && !s_axil_awaddr[3];

  always_comb begin
    written = s_axil_awaddr[2] ? frame_register : seed_register;
    if (s_axil_wstrb[0]) written[7:0] = s_axil_wdata[7:0];
    if (s_axil_wstrb[1]) written[15:8] = s_axil_wdata[15:8];
    if (s_axil_wstrb[2]) written[23:16] = s_axil_wdata[23:16];
    if (s_axil_wstrb[3]) written[31:24] = s_axil_wdata[31:24];
  end

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    if (!rst_n) begin
      {seed_register, frame_register, first, flight, beat} <= '0;
      {write_due, read_due, anew}                          <= '0;
    end else begin
      anew <= accepted;
      if (accepted && !s_axil_awaddr[2]) seed_register <= written;
      if (accepted && s_axil_awaddr[2]) frame_register <= written;
      else if (begins) frame_register <= frame_register + 1;
      if (accepted) first <= s_axil_awaddr[2] ? written : frame_register;
      flight <= flight + 32'(begins) - 32'(last_out);
      if (beat_in) beat <= (beat == BEAT_W'(IN_BEATS - 1)) ? '0 : beat + 1'b1;
      write_due <= takes || (write_due && !s_axil_bready);
      read_due  <= reads || (read_due && !s_axil_rready);
    end
    if (takes) response <= accepted ? 2'b00 : 2'b10;
    if (reads) begin
      case (s_axil_araddr[3:2])
        2'd0:    answer <= seed_register;
        2'd1:    answer <= frame_register;
        2'd2:    answer <= 32'(busy);
        default: answer <= '0;
      endcase
    end
  end

  always_comb begin
    // A frame leaves after it has begun.
    assume (!last_out || busy);
    if (!begun)
      assume (!rst_n);
      else begin
        assert ((s_axil_wvalid && s_axil_wready) == takes);
        assert (s_axil_bvalid == write_due && s_axil_rvalid == read_due);
        if (write_due) assert (s_axil_bresp == response && !takes);
        if (read_due) assert (s_axil_rdata == answer && s_axil_rresp == 2'b00 && !reads);
        assert (seed == seed_register && frame == first && restart == anew);
        if (!write_due && s_axil_awvalid && s_axil_wvalid) assert (takes);
        if (!read_due && s_axil_arvalid) assert (reads);
`ifndef PROMISES
        // What they follow from.
        assert (spy_next_frame == frame_register && spy_on_their_way == flight && spy_beat == beat);
`endif
      end
  end

endmodule

`default_nettype wire
