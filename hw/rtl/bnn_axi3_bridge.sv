/// AXI3 slave before an AXI4-Lite master: what the processor's general-purpose port asks for, beat after beat.
///
/// One burst at a time, a write before a read that waits beside it. Bursts of 32-bit beats with rising (INCR) or fixed
/// (FIXED) addresses become as many single accesses; a burst that wraps, or has narrower beats, is answered with SLVERR
/// and changes nothing. A write's answer is the worst of its beats'. Cache, protection and lock bits say nothing here,
/// and a write's identifier beside its data is not read: there is one burst at a time.
///
/// Latency: 1 cycle from an address to its first access; an answer is passed on in the cycle in which it comes, that of
///   a write in the cycle after.
/// II: as fast as the AXI4-Lite slave, with 2 cycles between bursts.
`default_nettype none

module bnn_axi3_bridge #(
    /// Bits of an identifier [bits], >= 1.
    parameter int unsigned ID_W   = 12,
    /// Bits of an address that are passed on [bits], 3 to 32.
    parameter int unsigned ADDR_W = 16
) (
    input  wire logic              clk,
    input  wire logic              rst_n,
    input  wire logic [  ID_W-1:0] s_axi_awid,
    input  wire logic [      31:0] s_axi_awaddr,
    input  wire logic [       3:0] s_axi_awlen,
    input  wire logic [       1:0] s_axi_awsize,
    input  wire logic [       1:0] s_axi_awburst,
    input  wire logic              s_axi_awvalid,
    output wire logic              s_axi_awready,
    input  wire logic [      31:0] s_axi_wdata,
    input  wire logic [       3:0] s_axi_wstrb,
    input  wire logic              s_axi_wvalid,
    output wire logic              s_axi_wready,
    output wire logic [  ID_W-1:0] s_axi_bid,
    output wire logic [       1:0] s_axi_bresp,
    output wire logic              s_axi_bvalid,
    input  wire logic              s_axi_bready,
    input  wire logic [  ID_W-1:0] s_axi_arid,
    input  wire logic [      31:0] s_axi_araddr,
    input  wire logic [       3:0] s_axi_arlen,
    input  wire logic [       1:0] s_axi_arsize,
    input  wire logic [       1:0] s_axi_arburst,
    input  wire logic              s_axi_arvalid,
    output wire logic              s_axi_arready,
    output wire logic [  ID_W-1:0] s_axi_rid,
    output wire logic [      31:0] s_axi_rdata,
    output wire logic [       1:0] s_axi_rresp,
    output wire logic              s_axi_rlast,
    output wire logic              s_axi_rvalid,
    input  wire logic              s_axi_rready,
    output wire logic [ADDR_W-1:0] m_axil_awaddr,
    output wire logic              m_axil_awvalid,
    input  wire logic              m_axil_awready,
    output wire logic [      31:0] m_axil_wdata,
    output wire logic [       3:0] m_axil_wstrb,
    output wire logic              m_axil_wvalid,
    input  wire logic              m_axil_wready,
    input  wire logic [       1:0] m_axil_bresp,
    input  wire logic              m_axil_bvalid,
    output wire logic              m_axil_bready,
    output wire logic [ADDR_W-1:0] m_axil_araddr,
    output wire logic              m_axil_arvalid,
    input  wire logic              m_axil_arready,
    input  wire logic [      31:0] m_axil_rdata,
    input  wire logic [       1:0] m_axil_rresp,
    input  wire logic              m_axil_rvalid,
    output wire logic              m_axil_rready
);

  if (ID_W < 1 || ADDR_W < 3 || ADDR_W > 32) begin : g_illegal
    $error("bnn_axi3_bridge: ID_W %0d must be at least 1 and ADDR_W %0d from 3 to 32", ID_W, ADDR_W);
  end

  localparam logic [1:0] SLVERR = 2'b10;
  localparam logic [1:0] FIXED = 2'b00;
  localparam logic [1:0] INCR = 2'b01;
  localparam logic [1:0] WORD = 2'd2;

  logic writing, reading, answering, refused, rises, address_sent, data_sent, last;
  logic take_write, take_read, beat_done;
  logic [ID_W-1:0] id;
  logic [ADDR_W-1:0] address;
  logic [3:0] left;
  logic [1:0] worst;

  assign take_write = !writing && !reading && !answering && s_axi_awvalid;
  assign take_read = !writing && !reading && !answering && s_axi_arvalid && !s_axi_awvalid;
  assign s_axi_awready = take_write;
  assign s_axi_arready = take_read;
  assign last = (left == '0);

  // A beat of a write: the word waits at the slave until its answer came.
  assign m_axil_awaddr = address;
  assign m_axil_awvalid = writing && !refused && s_axi_wvalid && !address_sent;
  assign m_axil_wdata = s_axi_wdata;
  assign m_axil_wstrb = s_axi_wstrb;
  assign m_axil_wvalid = writing && !refused && s_axi_wvalid && !data_sent;
  assign m_axil_bready = writing;
  assign s_axi_wready = writing && (refused || m_axil_bvalid);
  assign s_axi_bid = id;
  assign s_axi_bresp = worst;
  assign s_axi_bvalid = answering;

  // A beat of a read.
  assign m_axil_araddr = address;
  assign m_axil_arvalid = reading && !refused && !address_sent;
  assign m_axil_rready = reading && !refused && s_axi_rready;
  assign s_axi_rid = id;
  assign s_axi_rdata = refused ? '0 : m_axil_rdata;
  assign s_axi_rresp = refused ? SLVERR : m_axil_rresp;
  assign s_axi_rlast = last;
  assign s_axi_rvalid = reading && (refused || m_axil_rvalid);

  assign beat_done = (s_axi_wvalid && s_axi_wready) || (s_axi_rvalid && s_axi_rready);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      writing      <= 1'b0;
      reading      <= 1'b0;
      answering    <= 1'b0;
      address_sent <= 1'b0;
      data_sent    <= 1'b0;
    end else begin
      if (take_write) writing <= 1'b1;
      else if (writing && beat_done && last) writing <= 1'b0;
      if (take_read) reading <= 1'b1;
      else if (reading && beat_done && last) reading <= 1'b0;
      if (writing && beat_done && last) answering <= 1'b1;
      else if (s_axi_bready) answering <= 1'b0;
      if (beat_done) address_sent <= 1'b0;
      else if ((m_axil_awvalid && m_axil_awready) || (m_axil_arvalid && m_axil_arready)) address_sent <= 1'b1;
      if (beat_done) data_sent <= 1'b0;
      else if (m_axil_wvalid && m_axil_wready) data_sent <= 1'b1;
    end
    if (take_write) begin
      id      <= s_axi_awid;
      address <= s_axi_awaddr[ADDR_W-1:0];
      left    <= s_axi_awlen;
      rises   <= (s_axi_awburst == INCR);
      refused <= (s_axi_awburst != INCR && s_axi_awburst != FIXED) || s_axi_awsize != WORD;
      worst   <= '0;
    end else if (take_read) begin
      id      <= s_axi_arid;
      address <= s_axi_araddr[ADDR_W-1:0];
      left    <= s_axi_arlen;
      rises   <= (s_axi_arburst == INCR);
      refused <= (s_axi_arburst != INCR && s_axi_arburst != FIXED) || s_axi_arsize != WORD;
    end else if (beat_done) begin
      left <= left - 4'd1;
      if (rises) address <= address + ADDR_W'(4);
      if (writing && refused) worst <= SLVERR;
      else if (writing && m_axil_bresp > worst) worst <= m_axil_bresp;
    end
  end

  // The bits above ADDR_W chose this slave.
  logic unused;
  assign unused = &{1'b0, s_axi_awaddr, s_axi_araddr};

endmodule

`default_nettype wire
