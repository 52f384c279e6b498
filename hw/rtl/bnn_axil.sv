/// AXI4-Lite slave that turns what a master asks for into single requests, one at a time.
///
/// `request` is 1 from the cycle after a request was taken until the one in which `done` is 1; in that cycle `rdata`
/// and `error` are sampled. Address and data of a write are taken together. A write comes before a read that waits
/// beside it. A request that errs is answered with SLVERR.
///
/// Latency: an answer is valid in the cycle after `done`, two cycles after its request was taken where `done` is at once.
/// II: 3 cycles a request where `done` and the master's ready are at once.
`default_nettype none

module bnn_axil #(
    /// Bits of an address [bits], >= 3.
    parameter int unsigned ADDR_W = 16
) (
    input  wire logic              clk,
    input  wire logic              rst_n,
    input  wire logic [ADDR_W-1:0] s_axil_awaddr,
    input  wire logic              s_axil_awvalid,
    output wire logic              s_axil_awready,
    input  wire logic [      31:0] s_axil_wdata,
    input  wire logic [       3:0] s_axil_wstrb,
    input  wire logic              s_axil_wvalid,
    output wire logic              s_axil_wready,
    output wire logic [       1:0] s_axil_bresp,
    output wire logic              s_axil_bvalid,
    input  wire logic              s_axil_bready,
    input  wire logic [ADDR_W-1:0] s_axil_araddr,
    input  wire logic              s_axil_arvalid,
    output wire logic              s_axil_arready,
    output wire logic [      31:0] s_axil_rdata,
    output wire logic [       1:0] s_axil_rresp,
    output wire logic              s_axil_rvalid,
    input  wire logic              s_axil_rready,
    output wire logic              request,
    output wire logic              write,
    output wire logic [ADDR_W-3:0] word,
    output wire logic [      31:0] wdata,
    output wire logic [       3:0] wstrb,
    input  wire logic              done,
    input  wire logic              error,
    input  wire logic [      31:0] rdata
);

  if (ADDR_W < 3) begin : g_illegal
    $error("bnn_axil: ADDR_W is %0d, it must be at least 3", ADDR_W);
  end

  logic waiting, writing, bvalid, rvalid, failed, take_write, take_read, free;
  logic [ADDR_W-3:0] word_now;
  logic [31:0] wdata_now, rdata_now;
  logic [3:0] wstrb_now;

  assign free           = !waiting && !bvalid && !rvalid;
  assign take_write     = free && s_axil_awvalid && s_axil_wvalid;
  assign take_read      = free && s_axil_arvalid && !(s_axil_awvalid && s_axil_wvalid);
  assign s_axil_awready = take_write;
  assign s_axil_wready  = take_write;
  assign s_axil_arready = take_read;
  assign s_axil_bvalid  = bvalid;
  assign s_axil_bresp   = {failed, 1'b0};
  assign s_axil_rvalid  = rvalid;
  assign s_axil_rresp   = {failed, 1'b0};
  assign s_axil_rdata   = rdata_now;
  assign request        = waiting;
  assign write          = writing;
  assign word           = word_now;
  assign wdata          = wdata_now;
  assign wstrb          = wstrb_now;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      waiting <= 1'b0;
      bvalid  <= 1'b0;
      rvalid  <= 1'b0;
    end else begin
      if (take_write || take_read) waiting <= 1'b1;
      else if (done) waiting <= 1'b0;
      if (waiting && done && writing) bvalid <= 1'b1;
      else if (s_axil_bready) bvalid <= 1'b0;
      if (waiting && done && !writing) rvalid <= 1'b1;
      else if (s_axil_rready) rvalid <= 1'b0;
    end
    if (take_write || take_read) begin
      writing   <= take_write;
      word_now  <= take_write ? s_axil_awaddr[ADDR_W-1:2] : s_axil_araddr[ADDR_W-1:2];
      wdata_now <= s_axil_wdata;
      wstrb_now <= s_axil_wstrb;
    end
    if (waiting && done) begin
      failed    <= error;
      rdata_now <= rdata;
    end
  end

  // Word addresses: the two low bits say nothing.
  logic unused;
  assign unused = &{1'b0, s_axil_awaddr[1:0], s_axil_araddr[1:0]};

endmodule

`default_nettype wire
