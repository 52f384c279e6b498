/// Registers of an accelerator that draws weights, on AXI4-Lite: which seed, and which frame comes next.
///
/// Words of 32 bits, by byte address:
///   0x0 SEED    read and write; 0 after the reset.
///   0x4 FRAME   read: index of the next frame that will begin to enter. Write: let it have this index. 0 after the
///               reset, and one more with each frame that begins to enter.
///   0x8 STATUS  read: bit 0 is 1 while a frame is on its way, from its first input beat to its last output beat.
///   0xC         reads as 0.
/// A write to SEED or FRAME lets the generators begin anew, FRAME being the index of the frame that they draw first.
/// While a frame is on its way such a write, and at any time one to another address, changes nothing and is answered
/// with SLVERR. Whoever writes must not offer the first beat of a frame before the answer came.
///
/// Address and data of a write are taken together, in the same cycle.
/// Latency: an answer is valid in the cycle after its request was taken; `restart` is 1 in that cycle too.
/// II: 2 cycles a write, 2 cycles a read; the two do not wait for each other.
`default_nettype none

module bnn_control #(
    /// Input beats of a frame.
    parameter int unsigned IN_BEATS = 4
) (
    input  wire logic        clk,
    input  wire logic        rst_n,
    input  wire logic [ 3:0] s_axil_awaddr,
    input  wire logic        s_axil_awvalid,
    output wire logic        s_axil_awready,
    input  wire logic [31:0] s_axil_wdata,
    input  wire logic [ 3:0] s_axil_wstrb,
    input  wire logic        s_axil_wvalid,
    output wire logic        s_axil_wready,
    output wire logic [ 1:0] s_axil_bresp,
    output wire logic        s_axil_bvalid,
    input  wire logic        s_axil_bready,
    input  wire logic [ 3:0] s_axil_araddr,
    input  wire logic        s_axil_arvalid,
    output wire logic        s_axil_arready,
    output wire logic [31:0] s_axil_rdata,
    output wire logic [ 1:0] s_axil_rresp,
    output wire logic        s_axil_rvalid,
    input  wire logic        s_axil_rready,
    /// An input beat moves.
    input  wire logic        beat_in,
    /// The last output beat of a frame moves.
    input  wire logic        last_out,
    /// For the generators.
    output wire logic [31:0] seed,
    output wire logic [31:0] frame,
    output wire logic        restart
);

  localparam int unsigned BEAT_W = (IN_BEATS > 1) ? $clog2(IN_BEATS) : 1;
  localparam logic [1:0] OKAY = 2'b00;
  localparam logic [1:0] SLVERR = 2'b10;
  localparam logic [1:0] SEED = 2'd0;
  localparam logic [1:0] FRAME = 2'd1;
  localparam logic [1:0] STATUS = 2'd2;

  if (IN_BEATS < 1) begin : g_illegal_beats
    $error("bnn_control: IN_BEATS must be at least 1");
  end

  logic [31:0] seed_now, first_frame, next_frame, on_their_way;
  logic [BEAT_W-1:0] beat;
  logic restart_now, begins, busy;

  assign begins  = beat_in && (beat == '0);
  assign busy    = (on_their_way != '0) || begins;
  assign seed    = seed_now;
  assign frame   = first_frame;
  assign restart = restart_now;

  // Writes.
  logic [31:0] old, merged;
  logic [1:0] bresp;
  logic write, known, accept, bvalid;

  assign write          = s_axil_awvalid && s_axil_wvalid && !bvalid;
  assign s_axil_awready = write;
  assign s_axil_wready  = write;
  assign s_axil_bresp   = bresp;
  assign s_axil_bvalid  = bvalid;
  assign known          = s_axil_awaddr[3:2] == SEED || s_axil_awaddr[3:2] == FRAME;
  assign accept         = write && known && !busy;
  assign old            = (s_axil_awaddr[3:2] == SEED) ? seed_now : next_frame;

  for (genvar i = 0; i < 4; i++) begin : g_byte
    assign merged[8*i+:8] = s_axil_wstrb[i] ? s_axil_wdata[8*i+:8] : old[8*i+:8];
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      seed_now     <= '0;
      first_frame  <= '0;
      next_frame   <= '0;
      restart_now  <= 1'b0;
      bvalid       <= 1'b0;
      beat         <= '0;
      on_their_way <= '0;
    end else begin
      restart_now <= accept;
      if (accept && s_axil_awaddr[3:2] == SEED) begin
        seed_now    <= merged;
        first_frame <= next_frame;
      end else if (accept) begin
        first_frame <= merged;
        next_frame  <= merged;
      end else if (begins) begin
        next_frame <= next_frame + 1'b1;
      end
      if (write) bvalid <= 1'b1;
      else if (s_axil_bready) bvalid <= 1'b0;
      if (beat_in) beat <= (beat == BEAT_W'(IN_BEATS - 1)) ? '0 : beat + 1'b1;
      on_their_way <= on_their_way + 32'(begins) - 32'(last_out);
    end
    if (write) bresp <= accept ? OKAY : SLVERR;
  end

  // Reads.
  logic [31:0] rdata;
  logic rvalid, read;

  assign read           = s_axil_arvalid && !rvalid;
  assign s_axil_arready = read;
  assign s_axil_rdata   = rdata;
  assign s_axil_rresp   = OKAY;
  assign s_axil_rvalid  = rvalid;

  always_ff @(posedge clk) begin
    if (read) begin
      case (s_axil_araddr[3:2])
        SEED:    rdata <= seed_now;
        FRAME:   rdata <= next_frame;
        STATUS:  rdata <= 32'(busy);
        default: rdata <= '0;
      endcase
    end
    if (!rst_n) rvalid <= 1'b0;
    else if (read) rvalid <= 1'b1;
    else if (s_axil_rready) rvalid <= 1'b0;
  end

  // Word addresses: the two low bits say nothing.
  logic unused;
  assign unused = &{1'b0, s_axil_awaddr[1:0], s_axil_araddr[1:0]};

endmodule

`default_nettype wire
