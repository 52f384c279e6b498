/// What bnn_axi3_bridge promises: AXI's rules on both sides, one access a beat, and every burst answered once.
///
/// The processor offers bursts at any time, and the slave takes and answers accesses at any time, each once.
`default_nettype none

module axi3_bridge (
    input wire logic        clk,
    input wire logic        rst_n,
    input wire logic        s_axi_awid,
    input wire logic [31:0] s_axi_awaddr,
    input wire logic [ 3:0] s_axi_awlen,
    input wire logic [ 1:0] s_axi_awsize,
    input wire logic [ 1:0] s_axi_awburst,
    input wire logic        s_axi_awvalid,
    input wire logic [31:0] s_axi_wdata,
    input wire logic [ 3:0] s_axi_wstrb,
    input wire logic        s_axi_wvalid,
    input wire logic        s_axi_bready,
    input wire logic        s_axi_arid,
    input wire logic [31:0] s_axi_araddr,
    input wire logic [ 3:0] s_axi_arlen,
    input wire logic [ 1:0] s_axi_arsize,
    input wire logic [ 1:0] s_axi_arburst,
    input wire logic        s_axi_arvalid,
    input wire logic        s_axi_rready,
    input wire logic        m_axil_awready,
    input wire logic        m_axil_wready,
    input wire logic [ 1:0] m_axil_bresp,
    input wire logic        m_axil_bvalid,
    input wire logic        m_axil_arready,
    input wire logic [31:0] m_axil_rdata,
    input wire logic [ 1:0] m_axil_rresp,
    input wire logic        m_axil_rvalid
);

  logic
      s_axi_awready,
      s_axi_wready,
      s_axi_bid,
      s_axi_bvalid,
      s_axi_arready,
      s_axi_rid,
      s_axi_rlast,
      s_axi_rvalid;
  logic m_axil_awvalid, m_axil_wvalid, m_axil_bready, m_axil_arvalid, m_axil_rready;
  logic [1:0] s_axi_bresp, s_axi_rresp;
  logic [31:0] s_axi_rdata, m_axil_wdata;
  logic [3:0] m_axil_wstrb;
  logic [5:0] m_axil_awaddr, m_axil_araddr;

  bnn_axi3_bridge #(
      .ID_W  (1),
      .ADDR_W(6)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(6)
  ) u_aw_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axil_awaddr),
      .tvalid(m_axil_awvalid),
      .tready(m_axil_awready)
  );
  axis_rules #(
      .DATA_W(36)
  ) u_w_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata ({m_axil_wdata, m_axil_wstrb}),
      .tvalid(m_axil_wvalid),
      .tready(m_axil_wready)
  );
  axis_rules #(
      .DATA_W(6)
  ) u_ar_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axil_araddr),
      .tvalid(m_axil_arvalid),
      .tready(m_axil_arready)
  );
  axis_rules #(
      .DATA_W(36)
  ) u_r_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata ({s_axi_rdata, s_axi_rresp, s_axi_rlast, s_axi_rid}),
      .tvalid(s_axi_rvalid),
      .tready(s_axi_rready)
  );
  axis_rules #(
      .DATA_W(3)
  ) u_b_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata ({s_axi_bresp, s_axi_bid}),
      .tvalid(s_axi_bvalid),
      .tready(s_axi_bready)
  );

  logic begun = 1'b0;
  logic held_w, held_b, held_r, reading, writing, id, good, rises;
  logic [36:0] was_w;
  logic [ 2:0] was_b;
  logic [34:0] was_r;
  // Accesses whose answer is due, beats of a burst that are due, and the address of the next one.
  logic due_aw, due_w, due_ar;
  logic [4:0] beats;
  logic [5:0] address;

  always_ff @(posedge clk) begin
    begun  <= 1'b1;
    held_w <= rst_n && s_axi_wvalid && !s_axi_wready;
    held_b <= rst_n && m_axil_bvalid && !m_axil_bready;
    held_r <= rst_n && m_axil_rvalid && !m_axil_rready;
    was_w  <= {s_axi_wvalid, s_axi_wdata, s_axi_wstrb};
    was_b  <= {m_axil_bvalid, m_axil_bresp};
    was_r  <= {m_axil_rvalid, m_axil_rresp, m_axil_rdata};
    if (!rst_n) begin
      {due_aw, due_w, due_ar, reading, writing} <= '0;
      beats                                     <= '0;
    end else begin
      if (m_axil_bvalid && m_axil_bready) {due_aw, due_w} <= 2'b00;
      if (m_axil_awvalid && m_axil_awready) due_aw <= 1'b1;
      if (m_axil_wvalid && m_axil_wready) due_w <= 1'b1;
      if (m_axil_rvalid && m_axil_rready) due_ar <= 1'b0;
      if (m_axil_arvalid && m_axil_arready) due_ar <= 1'b1;
      if (s_axi_awvalid && s_axi_awready) begin
        {writing, beats, id, address} <= {1'b1, 5'(s_axi_awlen) + 5'd1, s_axi_awid, s_axi_awaddr[5:0]};
        {good, rises} <= {!s_axi_awburst[1] && s_axi_awsize == 2'd2, s_axi_awburst[0]};
      end else if (s_axi_arvalid && s_axi_arready) begin
        {reading, beats, id, address} <= {1'b1, 5'(s_axi_arlen) + 5'd1, s_axi_arid, s_axi_araddr[5:0]};
        {good, rises} <= {!s_axi_arburst[1] && s_axi_arsize == 2'd2, s_axi_arburst[0]};
      end else if ((s_axi_rvalid && s_axi_rready) || (s_axi_wvalid && s_axi_wready)) begin
        beats <= beats - 5'd1;
        if (rises) address <= address + 6'd4;
      end
      if (s_axi_rvalid && s_axi_rready && s_axi_rlast) reading <= 1'b0;
      if (s_axi_bvalid && s_axi_bready) writing <= 1'b0;
    end
  end

  always_comb begin
    // Words, and the slave's answers, wait unchanged; the slave answers what it took.
    if (held_w) assume ({s_axi_wvalid, s_axi_wdata, s_axi_wstrb} == was_w);
    if (held_b) assume ({m_axil_bvalid, m_axil_bresp} == was_b);
    if (held_r) assume ({m_axil_rvalid, m_axil_rresp, m_axil_rdata} == was_r);
    assume (!m_axil_bvalid || (due_aw && due_w));
    assume (!m_axil_rvalid || due_ar);
    if (!begun)
      assume (!rst_n);
      else begin
        // One burst at a time; beats belong to it.
        if (s_axi_awready && s_axi_awvalid) assert (!reading && !writing && !s_axi_arready);
        if (s_axi_arready && s_axi_arvalid) assert (!reading && !writing);
        if (s_axi_wready) assert (writing && beats != '0);
        if (s_axi_rvalid)
          assert (reading && beats != '0 && s_axi_rid == id && s_axi_rlast == (beats == 5'd1));
        if (s_axi_bvalid) assert (writing && beats == '0 && s_axi_bid == id);
        // One access a beat, at its address, with its word; none for a burst that is refused.
        if (m_axil_awvalid) assert (!due_aw && writing && good && m_axil_awaddr == address && beats != '0);
        if (m_axil_wvalid) assert (!due_w && writing && good && m_axil_wdata == s_axi_wdata);
        if (m_axil_arvalid) assert (!due_ar && reading && good && m_axil_araddr == address);
        if (s_axi_rvalid && good) assert (m_axil_rvalid && s_axi_rdata == m_axil_rdata);
        if (s_axi_rvalid && !good) assert (s_axi_rresp == 2'b10);
        if (s_axi_bvalid && !good) assert (s_axi_bresp == 2'b10);
      end
  end

endmodule

`default_nettype wire
