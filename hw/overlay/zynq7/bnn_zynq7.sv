/// A whole Zynq-7000: the processing system and an overlay, without any vendor block.
///
/// FCLK0 clocks everything. Its reset, FCLKRESETN0, is brought into that clock. General-purpose port 0 reaches the
/// registers at 0x4000_0000 of the processor's addresses and repeats them every 64 KiB; high-performance port 0
/// reaches the memory with bursts of at most 16 64-bit words. Boot code of the processor sets pads, memory, clocks and
/// level shifters: nothing of that is in a bitstream.
/// An address on m_axi has 32 bits. bnn_overlay has one identifier, so it has none, and the port gets 0.
`default_nettype none

module bnn_zynq7 #(
    /// Folder of the memory files, with its final slash.
    parameter MEM_DIR = "./"
) ();

  logic [3:0] fclk, fclk_reset_n;
  logic clk, rst_n, rst_first_n;

  BUFG u_bufg (
      .I(fclk[0]),
      .O(clk)
  );

  always_ff @(posedge clk) begin
    rst_first_n <= fclk_reset_n[0];
    rst_n       <= rst_first_n;
  end

  // General-purpose port 0, AXI3.
  logic [11:0] gp_arid, gp_awid, gp_rid, gp_bid;
  logic [31:0] gp_araddr, gp_awaddr, gp_wdata, gp_rdata;
  logic [3:0] gp_arlen, gp_awlen, gp_wstrb;
  logic [1:0] gp_arsize, gp_awsize, gp_arburst, gp_awburst, gp_rresp, gp_bresp;
  logic gp_arvalid, gp_arready, gp_awvalid, gp_awready, gp_wvalid, gp_wready;
  logic gp_rvalid, gp_rready, gp_rlast, gp_bvalid, gp_bready;

  // Its registers, AXI4-Lite.
  logic [15:0] axil_awaddr, axil_araddr;
  logic [31:0] axil_wdata, axil_rdata;
  logic [3:0] axil_wstrb;
  logic [1:0] axil_bresp, axil_rresp;
  logic axil_awvalid, axil_awready, axil_wvalid, axil_wready, axil_bvalid, axil_bready;
  logic axil_arvalid, axil_arready, axil_rvalid, axil_rready;

  // High-performance port 0.
  logic [31:0] hp_araddr, hp_awaddr;
  logic [63:0] hp_rdata, hp_wdata;
  logic [7:0] hp_arlen, hp_awlen, hp_wstrb;
  logic [3:0] hp_arcache, hp_awcache;
  logic [2:0] hp_arsize, hp_awsize, hp_arprot, hp_awprot;
  logic [1:0] hp_arburst, hp_awburst, hp_rresp, hp_bresp;
  logic hp_arvalid, hp_arready, hp_rvalid, hp_rready, hp_rlast;
  logic hp_awvalid, hp_awready, hp_wvalid, hp_wready, hp_wlast, hp_bvalid, hp_bready;

  bnn_axi3_bridge u_bridge (
      .clk           (clk),
      .rst_n         (rst_n),
      .s_axi_awid    (gp_awid),
      .s_axi_awaddr  (gp_awaddr),
      .s_axi_awlen   (gp_awlen),
      .s_axi_awsize  (gp_awsize),
      .s_axi_awburst (gp_awburst),
      .s_axi_awvalid (gp_awvalid),
      .s_axi_awready (gp_awready),
      .s_axi_wdata   (gp_wdata),
      .s_axi_wstrb   (gp_wstrb),
      .s_axi_wvalid  (gp_wvalid),
      .s_axi_wready  (gp_wready),
      .s_axi_bid     (gp_bid),
      .s_axi_bresp   (gp_bresp),
      .s_axi_bvalid  (gp_bvalid),
      .s_axi_bready  (gp_bready),
      .s_axi_arid    (gp_arid),
      .s_axi_araddr  (gp_araddr),
      .s_axi_arlen   (gp_arlen),
      .s_axi_arsize  (gp_arsize),
      .s_axi_arburst (gp_arburst),
      .s_axi_arvalid (gp_arvalid),
      .s_axi_arready (gp_arready),
      .s_axi_rid     (gp_rid),
      .s_axi_rdata   (gp_rdata),
      .s_axi_rresp   (gp_rresp),
      .s_axi_rlast   (gp_rlast),
      .s_axi_rvalid  (gp_rvalid),
      .s_axi_rready  (gp_rready),
      .m_axil_awaddr (axil_awaddr),
      .m_axil_awvalid(axil_awvalid),
      .m_axil_awready(axil_awready),
      .m_axil_wdata  (axil_wdata),
      .m_axil_wstrb  (axil_wstrb),
      .m_axil_wvalid (axil_wvalid),
      .m_axil_wready (axil_wready),
      .m_axil_bresp  (axil_bresp),
      .m_axil_bvalid (axil_bvalid),
      .m_axil_bready (axil_bready),
      .m_axil_araddr (axil_araddr),
      .m_axil_arvalid(axil_arvalid),
      .m_axil_arready(axil_arready),
      .m_axil_rdata  (axil_rdata),
      .m_axil_rresp  (axil_rresp),
      .m_axil_rvalid (axil_rvalid),
      .m_axil_rready (axil_rready)
  );

  bnn_overlay #(
      .MEM_DIR(MEM_DIR),
      .ADDR_W (32)
  ) u_overlay (
      .clk           (clk),
      .rst_n         (rst_n),
      .s_axil_awaddr (axil_awaddr),
      .s_axil_awvalid(axil_awvalid),
      .s_axil_awready(axil_awready),
      .s_axil_wdata  (axil_wdata),
      .s_axil_wstrb  (axil_wstrb),
      .s_axil_wvalid (axil_wvalid),
      .s_axil_wready (axil_wready),
      .s_axil_bresp  (axil_bresp),
      .s_axil_bvalid (axil_bvalid),
      .s_axil_bready (axil_bready),
      .s_axil_araddr (axil_araddr),
      .s_axil_arvalid(axil_arvalid),
      .s_axil_arready(axil_arready),
      .s_axil_rdata  (axil_rdata),
      .s_axil_rresp  (axil_rresp),
      .s_axil_rvalid (axil_rvalid),
      .s_axil_rready (axil_rready),
      .m_axi_araddr  (hp_araddr),
      .m_axi_arlen   (hp_arlen),
      .m_axi_arsize  (hp_arsize),
      .m_axi_arburst (hp_arburst),
      .m_axi_arcache (hp_arcache),
      .m_axi_arprot  (hp_arprot),
      .m_axi_arvalid (hp_arvalid),
      .m_axi_arready (hp_arready),
      .m_axi_rdata   (hp_rdata),
      .m_axi_rresp   (hp_rresp),
      .m_axi_rlast   (hp_rlast),
      .m_axi_rvalid  (hp_rvalid),
      .m_axi_rready  (hp_rready),
      .m_axi_awaddr  (hp_awaddr),
      .m_axi_awlen   (hp_awlen),
      .m_axi_awsize  (hp_awsize),
      .m_axi_awburst (hp_awburst),
      .m_axi_awcache (hp_awcache),
      .m_axi_awprot  (hp_awprot),
      .m_axi_awvalid (hp_awvalid),
      .m_axi_awready (hp_awready),
      .m_axi_wdata   (hp_wdata),
      .m_axi_wstrb   (hp_wstrb),
      .m_axi_wlast   (hp_wlast),
      .m_axi_wvalid  (hp_wvalid),
      .m_axi_wready  (hp_wready),
      .m_axi_bresp   (hp_bresp),
      .m_axi_bvalid  (hp_bvalid),
      .m_axi_bready  (hp_bready)
  );

  // What is not connected is of no use here: the primitive's other ports belong to the processor's peripherals.
  PS7 u_ps7 (
      .FCLKCLK             (fclk),
      .FCLKRESETN          (fclk_reset_n),
      .FCLKCLKTRIGN        (4'b0000),
      .FPGAIDLEN           (1'b1),
      .MAXIGP0ACLK         (clk),
      .MAXIGP0ARID         (gp_arid),
      .MAXIGP0ARADDR       (gp_araddr),
      .MAXIGP0ARLEN        (gp_arlen),
      .MAXIGP0ARSIZE       (gp_arsize),
      .MAXIGP0ARBURST      (gp_arburst),
      .MAXIGP0ARVALID      (gp_arvalid),
      .MAXIGP0ARREADY      (gp_arready),
      .MAXIGP0RID          (gp_rid),
      .MAXIGP0RDATA        (gp_rdata),
      .MAXIGP0RRESP        (gp_rresp),
      .MAXIGP0RLAST        (gp_rlast),
      .MAXIGP0RVALID       (gp_rvalid),
      .MAXIGP0RREADY       (gp_rready),
      .MAXIGP0AWID         (gp_awid),
      .MAXIGP0AWADDR       (gp_awaddr),
      .MAXIGP0AWLEN        (gp_awlen),
      .MAXIGP0AWSIZE       (gp_awsize),
      .MAXIGP0AWBURST      (gp_awburst),
      .MAXIGP0AWVALID      (gp_awvalid),
      .MAXIGP0AWREADY      (gp_awready),
      .MAXIGP0WDATA        (gp_wdata),
      .MAXIGP0WSTRB        (gp_wstrb),
      .MAXIGP0WVALID       (gp_wvalid),
      .MAXIGP0WREADY       (gp_wready),
      .MAXIGP0BID          (gp_bid),
      .MAXIGP0BRESP        (gp_bresp),
      .MAXIGP0BVALID       (gp_bvalid),
      .MAXIGP0BREADY       (gp_bready),
      .SAXIHP0ACLK         (clk),
      .SAXIHP0RDISSUECAP1EN(1'b0),
      .SAXIHP0WRISSUECAP1EN(1'b0),
      .SAXIHP0ARID         (6'd0),
      .SAXIHP0ARADDR       (hp_araddr),
      .SAXIHP0ARLEN        (hp_arlen[3:0]),
      .SAXIHP0ARSIZE       (hp_arsize[1:0]),
      .SAXIHP0ARBURST      (hp_arburst),
      .SAXIHP0ARCACHE      (hp_arcache),
      .SAXIHP0ARPROT       (hp_arprot),
      .SAXIHP0ARLOCK       (2'b00),
      .SAXIHP0ARQOS        (4'd0),
      .SAXIHP0ARVALID      (hp_arvalid),
      .SAXIHP0ARREADY      (hp_arready),
      .SAXIHP0RDATA        (hp_rdata),
      .SAXIHP0RRESP        (hp_rresp),
      .SAXIHP0RLAST        (hp_rlast),
      .SAXIHP0RVALID       (hp_rvalid),
      .SAXIHP0RREADY       (hp_rready),
      .SAXIHP0AWID         (6'd0),
      .SAXIHP0AWADDR       (hp_awaddr),
      .SAXIHP0AWLEN        (hp_awlen[3:0]),
      .SAXIHP0AWSIZE       (hp_awsize[1:0]),
      .SAXIHP0AWBURST      (hp_awburst),
      .SAXIHP0AWCACHE      (hp_awcache),
      .SAXIHP0AWPROT       (hp_awprot),
      .SAXIHP0AWLOCK       (2'b00),
      .SAXIHP0AWQOS        (4'd0),
      .SAXIHP0AWVALID      (hp_awvalid),
      .SAXIHP0AWREADY      (hp_awready),
      .SAXIHP0WID          (6'd0),
      .SAXIHP0WDATA        (hp_wdata),
      .SAXIHP0WSTRB        (hp_wstrb),
      .SAXIHP0WLAST        (hp_wlast),
      .SAXIHP0WVALID       (hp_wvalid),
      .SAXIHP0WREADY       (hp_wready),
      .SAXIHP0BRESP        (hp_bresp),
      .SAXIHP0BVALID       (hp_bvalid),
      .SAXIHP0BREADY       (hp_bready)
  );

  // Bursts have at most 16 words of 8 bytes: the upper bits are 0, and so are those of the identifiers.
  logic unused;
  assign unused = &{1'b0, fclk[3:1], fclk_reset_n[3:1], hp_arlen[7:4], hp_awlen[7:4], hp_arsize[2]}
      && hp_awsize[2];

endmodule

`default_nettype wire
