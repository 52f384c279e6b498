/// Registers of one side of a DMA: FINN's IODMA map, and behind it state, errors and a soft reset.
///
/// Words of 32 bits, by byte address:
///   0x00 CTRL     bit 0: write 1 to start; reads 1 while a transfer is under way. Bit 1: a transfer was finished; a
///                 read clears it, and so does a start. Bit 2: no transfer is under way.
///   0x10, 0x14    ADDRESS, low and high word, of the first frame; a multiple of 8.
///   0x1C FRAMES   frames of a transfer.
///   0x20 STATUS   bit 0: halted by an error; only the soft reset ends that. Bits 4, 5, 6: length error or an address
///                 that can't be used; SLVERR; DECERR. A 1 written to one of these three clears it.
///   0x24          bytes of a frame in memory; read only.
///   0x28          frames finished in this transfer; read only.
///   0x2C RESET    write 1: soft reset of the whole accelerator; reads 1 until it is over.
/// All others read as 0. A start while a transfer is under way, while halted or during a soft reset does nothing; a
/// transfer that is halted is never done.
///
/// Latency: `rdata` is combinational, `start` and `reset_request` are 1 in the cycle after the write.
/// II: 1 cycle.
`default_nettype none

module bnn_dma_registers #(
    /// Bytes of a frame in memory [bytes].
    parameter int unsigned FRAME_BYTES = 784,
    /// Bits of an address [bits], 13 to 64.
    parameter int unsigned ADDR_W      = 40
) (
    input  wire logic              clk,
    input  wire logic              rst_n,
    /// A register of this page is read or written in this cycle.
    input  wire logic              select,
    input  wire logic              write,
    /// Word address.
    input  wire logic [       9:0] word,
    input  wire logic [      31:0] wdata,
    output wire logic [      31:0] rdata,
    /// For the DMA.
    output wire logic              start,
    output wire logic [ADDR_W-1:0] address,
    output wire logic [      31:0] frames,
    output wire logic              halted,
    input  wire logic              done,
    input  wire logic              frame_done,
    input  wire logic              slave_error,
    input  wire logic              decode_error,
    input  wire logic              length_error,
    /// For and from the soft reset.
    output wire logic              reset_request,
    input  wire logic              resetting
);

  localparam logic [9:0] CTRL = 10'h000;
  localparam logic [9:0] ADDRESS_LOW = 10'h004;
  localparam logic [9:0] ADDRESS_HIGH = 10'h005;
  localparam logic [9:0] FRAMES = 10'h007;
  localparam logic [9:0] STATUS = 10'h008;
  localparam logic [9:0] BYTES = 10'h009;
  localparam logic [9:0] FINISHED = 10'h00A;
  localparam logic [9:0] RESET = 10'h00B;

  if (ADDR_W < 13 || ADDR_W > 64) begin : g_illegal
    $error("bnn_dma_registers: ADDR_W is %0d, it must be 13 to 64", ADDR_W);
  end

  logic [63:0] address_now;
  logic [31:0] frames_now, finished, value;
  logic [2:0] errors;
  logic running, ready, halted_now, start_now, reset_now, begins, unusable, fails, writes;

  assign writes        = select && write;
  assign begins        = writes && word == CTRL && wdata[0] && !running && !halted_now && !resetting;
  assign fails         = slave_error || decode_error || length_error || (begins && unusable);
  assign start         = start_now;
  assign address       = address_now[ADDR_W-1:0];
  assign frames        = frames_now;
  assign halted        = halted_now;
  assign reset_request = reset_now;
  assign rdata         = value;

  if (ADDR_W < 64) begin : g_narrow
    assign unusable = (address_now[63:ADDR_W] != '0) || (address_now[2:0] != '0);
  end else begin : g_full
    assign unusable = (address_now[2:0] != '0);
  end

  always_comb begin
    case (word)
      CTRL:         value = {29'b0, !running, ready, running};
      ADDRESS_LOW:  value = address_now[31:0];
      ADDRESS_HIGH: value = address_now[63:32];
      FRAMES:       value = frames_now;
      STATUS:       value = {25'b0, errors, 3'b0, halted_now};
      BYTES:        value = 32'(FRAME_BYTES);
      FINISHED:     value = finished;
      RESET:        value = {31'b0, resetting};
      default:      value = '0;
    endcase
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      address_now <= '0;
      frames_now  <= '0;
      finished    <= '0;
      errors      <= '0;
      running     <= 1'b0;
      ready       <= 1'b0;
      halted_now  <= 1'b0;
      start_now   <= 1'b0;
      reset_now   <= 1'b0;
    end else begin
      start_now <= begins && !unusable;
      reset_now <= writes && word == RESET && wdata[0];
      if (writes && word == ADDRESS_LOW) address_now[31:0] <= wdata;
      if (writes && word == ADDRESS_HIGH) address_now[63:32] <= wdata;
      if (writes && word == FRAMES) frames_now <= wdata;
      if (begins) finished <= '0;
      else if (frame_done && running && !halted_now) finished <= finished + 1'b1;
      if (fails) halted_now <= 1'b1;
      errors <= (errors & ~((writes && word == STATUS) ? wdata[6:4] : 3'b0))
          | {decode_error, slave_error, length_error || (begins && unusable)};
      if (begins && !unusable) running <= 1'b1;
      else if (fails || (done && !start_now)) running <= 1'b0;
      if (done && running && !start_now && !fails && !halted_now) ready <= 1'b1;
      else if (select && word == CTRL && (!write || begins)) ready <= 1'b0;
    end
  end

endmodule

`default_nettype wire
