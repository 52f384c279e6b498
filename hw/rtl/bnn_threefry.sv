/// Threefry-2x32 with 13 rounds: 64 random bits of a key and a counter, LANES blocks a cycle.
///
/// Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. There is no state: a block
/// follows from key and counter alone, so blocks can be made in any order and by any number of units. The key must stay
/// as it is while blocks are on their way.
///
/// A stage each: the key enters; 13 rounds of add, rotate, exclusive or; the key enters again after the rounds 4, 8, 12.
///
/// Latency: 17 cycles; accepted in cycle t, valid in cycle t + 17.
/// II: 1 cycle. While m_axis_tvalid waits for m_axis_tready the whole unit stands still; s_axis_tready depends
///   combinationally on m_axis_tready.
`default_nettype none

module bnn_threefry #(
    /// Blocks side by side, >= 1.
    parameter int unsigned LANES = 1
) (
    input  wire logic                clk,
    input  wire logic                rst_n,
    /// First word of the key.
    input  wire logic [        31:0] key_0,
    /// Second word of the key.
    input  wire logic [        31:0] key_1,
    /// Counters, each with its first word in the low half.
    input  wire logic [LANES*64-1:0] s_axis_tdata,
    input  wire logic                s_axis_tvalid,
    output wire logic                s_axis_tready,
    /// Blocks, each with its first word in the low half.
    output wire logic [LANES*64-1:0] m_axis_tdata,
    output wire logic                m_axis_tvalid,
    input  wire logic                m_axis_tready
);

  localparam int unsigned ROUNDS = 13;
  localparam int unsigned STAGES = 1 + ROUNDS + ROUNDS / 4;
  // Bits that the rounds rotate by, eight in turn, the first one in the lowest byte.
  localparam logic [63:0] TURNS = {8'd24, 8'd16, 8'd29, 8'd17, 8'd6, 8'd26, 8'd15, 8'd13};

  if (LANES < 1) begin : g_illegal_lanes
    $error("bnn_threefry: LANES must be at least 1");
  end

  logic [31:0] keys[3];
  logic [STAGES-1:0] valid;
  logic advance;

  assign keys[0]       = key_0;
  assign keys[1]       = key_1;
  assign keys[2]       = 32'h1BD1_1BDA ^ key_0 ^ key_1;
  assign advance       = !valid[STAGES-1] || m_axis_tready;
  assign s_axis_tready = advance;
  assign m_axis_tvalid = valid[STAGES-1];

  always_ff @(posedge clk) begin
    if (!rst_n) valid <= '0;
    else if (advance) valid <= {valid[STAGES-2:0], s_axis_tvalid};
  end

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    logic [31:0] low [STAGES];
    logic [31:0] high[STAGES];

    assign m_axis_tdata[lane*64+:64] = {high[STAGES-1], low[STAGES-1]};

    always_ff @(posedge clk) begin
      if (advance) begin
        low[0]  <= s_axis_tdata[lane*64+:32] + keys[0];
        high[0] <= s_axis_tdata[lane*64+32+:32] + keys[1];
      end
    end

    // Of every five stages after the first, four are rounds and the fifth lets the key in.
    for (genvar stage = 1; stage < STAGES; stage++) begin : g_stage
      localparam int unsigned GROUP = (stage - 1) / 5;
      localparam int unsigned PLACE = (stage - 1) % 5;

      if (PLACE == 4) begin : g_key
        always_ff @(posedge clk) begin
          if (advance) begin
            low[stage]  <= low[stage-1] + keys[(GROUP+1)%3];
            high[stage] <= high[stage-1] + keys[(GROUP+2)%3] + 32'(GROUP + 1);
          end
        end
      end else begin : g_round
        localparam int unsigned TURN = 32'(TURNS[8*((4*GROUP+PLACE)%8)+:8]);
        logic [31:0] sum;

        assign sum = low[stage-1] + high[stage-1];
        always_ff @(posedge clk) begin
          if (advance) begin
            low[stage]  <= sum;
            high[stage] <= sum ^ {high[stage-1][31-TURN:0], high[stage-1][31:32-TURN]};
          end
        end
      end
    end
  end

endmodule

`default_nettype wire
