/// Sliding-window generator: turns a feature map into the windows of a convolution or a pooling layer.
///
/// In: HEIGHT * WIDTH pixels a frame, row by row, each in CF = CHANNELS / LANES beats. Out: the windows, row by row;
/// of each the GROUPS groups of channels, of those the kernel rows, of those the pixels, of those the GF = CF / GROUPS
/// beats of the group. Output row and column y, x start at input pixel (y * STRIDE_H, x * STRIDE_W). Pixels that no
/// window reaches are taken and dropped.
///
/// It has a circular buffer of DEPTH beats with one write and one registered read port, fit for block RAM. `have` counts
/// the beats written from the first beat of the current window on; `offset` is the beat read next, from there on.
///   Input: a beat is accepted when have < DEPTH; s_axis_tready depends on registers only.
///   Output: the read stage fetches a beat when have > offset and the output register is empty or leaves. Beat c of
///     kernel row ky, column kx and group g has offset (ky * WIDTH + kx) * CF + g * GF + c.
///   With the fetch of a window's last beat, `have` loses what lies before the next window: STRIDE_W pixels, at the
///   end of a row and of a frame the rest of them too. There it may turn negative: those beats are yet to come.
///
/// Latency: 2 cycles; the beat that an output waits for is accepted in cycle t, the output is valid in cycle t + 2.
/// II: one beat a cycle on both sides while the buffer has room and content: a frame takes
///   max(HEIGHT * WIDTH * CF, rows * columns * KERNEL_H * KERNEL_W * CF) cycles with the default DEPTH or more.
///   Frames follow each other without a gap: the next one is taken while the last windows leave.
`default_nettype none

module bnn_swg #(
    /// Bits of one element [bits], >= 1.
    parameter int unsigned ELEMENT_W = 1,
    /// Channels of a pixel [elements].
    parameter int unsigned CHANNELS = 2,
    /// Groups that the channels of a pixel fall into, >= 1.
    parameter int unsigned GROUPS = 1,
    /// Elements of a beat; divides CHANNELS / GROUPS.
    parameter int unsigned LANES = 1,
    /// Rows of the feature map [pixels].
    parameter int unsigned HEIGHT = 4,
    /// Columns of the feature map [pixels].
    parameter int unsigned WIDTH = 4,
    /// Rows of a window [pixels], at most HEIGHT.
    parameter int unsigned KERNEL_H = 3,
    /// Columns of a window [pixels], at most WIDTH.
    parameter int unsigned KERNEL_W = 3,
    /// Pixels from one window to the next, downwards, >= 1.
    parameter int unsigned STRIDE_H = 1,
    /// Pixels from one window to the next, across, >= 1.
    parameter int unsigned STRIDE_W = 1,
    /// Beats of a pixel; derived.
    localparam int unsigned CF = CHANNELS / LANES,
    /// Beats of a pixel in one group; derived.
    localparam int unsigned GF = CF / GROUPS,
    /// Beats from the first to the last of a window, both included; derived.
    localparam int unsigned EXTENT = ((KERNEL_H - 1) * WIDTH + KERNEL_W) * CF,
    /// Beats of one step down; derived.
    localparam int unsigned STEP_H = STRIDE_H * WIDTH * CF,
    /// Beats that the buffer holds, >= EXTENT. By default a window, and what the next row or frame starts with.
    parameter int unsigned DEPTH = EXTENT + ((EXTENT > STEP_H) ? EXTENT : STEP_H) + KERNEL_H * KERNEL_W * CF
) (
    input  wire logic                       clk,
    input  wire logic                       rst_n,
    input  wire logic [LANES*ELEMENT_W-1:0] s_axis_tdata,
    input  wire logic                       s_axis_tvalid,
    output wire logic                       s_axis_tready,
    output wire logic [LANES*ELEMENT_W-1:0] m_axis_tdata,
    output wire logic                       m_axis_tvalid,
    input  wire logic                       m_axis_tready
);

  localparam int unsigned ROWS = (HEIGHT - KERNEL_H) / STRIDE_H + 1;
  localparam int unsigned COLUMNS = (WIDTH - KERNEL_W) / STRIDE_W + 1;
  localparam int unsigned ROW_BEATS = KERNEL_W * GF;
  // Beats from one window's start to the next one's: within a row, to the next row, to the next frame.
  localparam int unsigned STEP = STRIDE_W * CF;
  localparam int unsigned ROW_STEP = STEP_H - (COLUMNS - 1) * STEP;
  localparam int unsigned FRAME_STEP = HEIGHT * WIDTH * CF - (ROWS - 1) * STEP_H - (COLUMNS - 1) * STEP;
  // Within a group, from the last beat of a pixel to the first of the next one, and from that of a kernel row.
  localparam int unsigned HOP = CF - GF + 1;
  localparam int unsigned SKIP = (WIDTH - KERNEL_W) * CF + HOP;
  localparam int unsigned LARGEST = (FRAME_STEP > ROW_STEP) ? FRAME_STEP : ROW_STEP;
  localparam int unsigned HAVE_W = $clog2(DEPTH + LARGEST + STEP + 1) + 1;
  localparam int unsigned ADDR_W = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int unsigned BEAT_W = (ROW_BEATS > 1) ? $clog2(ROW_BEATS) : 1;
  localparam int unsigned KY_W = (KERNEL_H > 1) ? $clog2(KERNEL_H) : 1;
  localparam int unsigned X_W = (COLUMNS > 1) ? $clog2(COLUMNS) : 1;
  localparam int unsigned Y_W = (ROWS > 1) ? $clog2(ROWS) : 1;

  if (ELEMENT_W < 1 || LANES < 1 || CHANNELS % LANES != 0) begin : g_illegal_lanes
    $error("bnn_swg: LANES %0d must divide CHANNELS %0d", LANES, CHANNELS);
  end
  if (GROUPS < 1 || CHANNELS % (GROUPS * LANES) != 0) begin : g_illegal_groups
    $error("bnn_swg: GROUPS %0d of LANES %0d must divide CHANNELS %0d", GROUPS, LANES, CHANNELS);
  end
  if (KERNEL_H < 1 || KERNEL_W < 1 || KERNEL_H > HEIGHT || KERNEL_W > WIDTH) begin : g_illegal_kernel
    $error("bnn_swg: a window of %0dx%0d does not fit %0dx%0d", KERNEL_H, KERNEL_W, HEIGHT, WIDTH);
  end
  if (DEPTH < EXTENT) begin : g_illegal_depth
    $error("bnn_swg: DEPTH %0d is less than a window's %0d beats", DEPTH, EXTENT);
  end

  function automatic logic [ADDR_W-1:0] moved(input logic [ADDR_W-1:0] from, input int unsigned by);
    int unsigned to;
    to    = 32'(from) + by;
    moved = ADDR_W'((to >= DEPTH) ? to - DEPTH : to);
  endfunction

  logic [LANES*ELEMENT_W-1:0] beats[DEPTH];
  logic [LANES*ELEMENT_W-1:0] out;
  logic [ADDR_W-1:0] tail, base, next_base, addr;
  logic signed [HAVE_W-1:0] have, offset, step;
  logic [BEAT_W-1:0] beat;
  logic [KY_W-1:0] ky;
  logic [X_W-1:0] x;
  logic [Y_W-1:0] y;
  logic valid, push, advance, fetch, beat_last, ky_last, x_last, y_last, window_last;
  logic pixel_last, group_last;
  // Offset of the next group's first beat.
  logic [HAVE_W-1:0] group_next;

  assign s_axis_tready = (have < $signed(HAVE_W'(DEPTH)));
  assign push          = s_axis_tvalid && s_axis_tready;
  assign advance       = !valid || m_axis_tready;
  assign fetch         = advance && (have > offset);
  assign beat_last     = (beat == BEAT_W'(ROW_BEATS - 1));
  assign ky_last       = (ky == KY_W'(KERNEL_H - 1));
  assign x_last        = (x == X_W'(COLUMNS - 1));
  assign y_last        = (y == Y_W'(ROWS - 1));
  assign window_last   = beat_last && ky_last && group_last;
  assign m_axis_tdata  = out;
  assign m_axis_tvalid = valid;

  always_comb begin
    if (!x_last) begin
      step      = HAVE_W'(STEP);
      next_base = moved(base, STEP % DEPTH);
    end else if (!y_last) begin
      step      = HAVE_W'(ROW_STEP);
      next_base = moved(base, ROW_STEP % DEPTH);
    end else begin
      step      = HAVE_W'(FRAME_STEP);
      next_base = moved(base, FRAME_STEP % DEPTH);
    end
  end

  always_ff @(posedge clk) begin
    if (push) beats[tail] <= s_axis_tdata;
    if (fetch) out <= beats[addr];
    if (!rst_n) begin
      tail  <= '0;
      have  <= '0;
      valid <= 1'b0;
    end else begin
      if (push) tail <= moved(tail, 1);
      if (advance) valid <= fetch;
      have <= have + HAVE_W'({1'b0, push}) - ((fetch && window_last) ? step : '0);
    end
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      base   <= '0;
      addr   <= '0;
      offset <= '0;
      beat   <= '0;
      ky     <= '0;
      x      <= '0;
      y      <= '0;
    end else if (fetch) begin
      beat <= beat_last ? '0 : beat + 1'b1;
      if (!beat_last) begin
        addr   <= moved(addr, pixel_last ? HOP % DEPTH : 1);
        offset <= offset + (pixel_last ? HAVE_W'(HOP) : HAVE_W'(1));
      end else if (!ky_last) begin
        ky     <= ky + 1'b1;
        addr   <= moved(addr, SKIP % DEPTH);
        offset <= offset + HAVE_W'(SKIP);
      end else if (!group_last) begin
        ky     <= '0;
        addr   <= moved(base, 32'(group_next));
        offset <= group_next;
      end else begin
        ky     <= '0;
        base   <= next_base;
        addr   <= next_base;
        offset <= '0;
        x      <= x_last ? '0 : x + 1'b1;
        if (x_last) y <= y_last ? '0 : y + 1'b1;
      end
    end
  end

  if (GROUPS == 1) begin : g_one_group
    assign pixel_last = 1'b0;
    assign group_last = 1'b1;
    assign group_next = '0;
  end else begin : g_groups
    localparam int unsigned PART_W = (GF > 1) ? $clog2(GF) : 1;
    logic [PART_W-1:0] part;
    logic [HAVE_W-1:0] next;

    assign pixel_last = (part == PART_W'(GF - 1));
    assign group_last = (next == HAVE_W'(CF));
    assign group_next = next;

    always_ff @(posedge clk) begin
      if (!rst_n) begin
        part <= '0;
        next <= HAVE_W'(GF);
      end else if (fetch) begin
        part <= pixel_last ? '0 : part + 1'b1;
        if (beat_last && ky_last) next <= group_last ? HAVE_W'(GF) : next + HAVE_W'(GF);
      end
    end
  end

endmodule

`default_nettype wire
