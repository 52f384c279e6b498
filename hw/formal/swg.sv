/// What bnn_swg promises: every beat of every window is the input beat that it stands for; none is lost, doubled,
/// invented or early, and the unit never stops for good.
///
/// Any one beat of the map is followed, in any frame: what leaves for it must be what entered. The assertions on the
/// unit's registers, which the wires named u_dut are connected to, say how they follow from where input and output
/// stand; with them all assertions are inductive.
`default_nettype none

module swg #(
    /// Channels of a pixel, one a beat.
    parameter int unsigned CHANNELS = 1,
    /// Groups that the channels fall into.
    parameter int unsigned GROUPS   = 1,
    /// Rows of the feature map [pixels].
    parameter int unsigned HEIGHT   = 3,
    /// Columns of the feature map [pixels].
    parameter int unsigned WIDTH    = 3,
    /// Rows and columns of a window [pixels].
    parameter int unsigned KERNEL   = 2,
    /// Pixels from one window to the next.
    parameter int unsigned STRIDE   = 1,
    /// Beats that the buffer holds.
    parameter int unsigned DEPTH    = 8
) (
    input wire logic clk,
    input wire logic rst_n,
    input wire logic s_axis_tdata,
    input wire logic s_axis_tvalid,
    input wire logic m_axis_tready,
    /// High where this frame may be the one to follow.
    input wire logic pick
);

  localparam int unsigned ROWS = (HEIGHT - KERNEL) / STRIDE + 1;
  localparam int unsigned COLUMNS = (WIDTH - KERNEL) / STRIDE + 1;
  localparam int unsigned FRAME = HEIGHT * WIDTH * CHANNELS;
  localparam int unsigned EXTENT = ((KERNEL - 1) * WIDTH + KERNEL) * CHANNELS;
  localparam int unsigned PART = CHANNELS / GROUPS;
  localparam int unsigned LAST_START = ((ROWS - 1) * STRIDE * WIDTH + (COLUMNS - 1) * STRIDE) * CHANNELS;
  localparam int unsigned STEP = STRIDE * CHANNELS;
  localparam int unsigned ROW_STEP = STRIDE * WIDTH * CHANNELS - (COLUMNS - 1) * STEP;
  localparam int unsigned FRAME_STEP = FRAME - LAST_START;
  localparam int unsigned LARGEST = (FRAME_STEP > ROW_STEP) ? FRAME_STEP : ROW_STEP;
  localparam int unsigned HAVE_W = $clog2(DEPTH + LARGEST + STEP + 1) + 1;
  localparam int unsigned ADDR_W = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int unsigned BEAT_W = (KERNEL * PART > 1) ? $clog2(KERNEL * PART) : 1;
  localparam int unsigned KY_W = (KERNEL > 1) ? $clog2(KERNEL) : 1;
  localparam int unsigned PART_W = (PART > 1) ? $clog2(PART) : 1;
  localparam int unsigned X_W = (COLUMNS > 1) ? $clog2(COLUMNS) : 1;
  localparam int unsigned Y_W = (ROWS > 1) ? $clog2(ROWS) : 1;
  // Signed, and wide enough for all positions of the frames in flight.
  localparam int unsigned POS_W = $clog2(8 * FRAME + DEPTH) + 1;
  localparam int unsigned COUNT_W = $clog2(HEIGHT + WIDTH + CHANNELS + 1);

  // Where the input stands; what leaves next: window, group, kernel row and column, channel. Frames modulo eight.
  logic [POS_W-1:0] in_pos;
  logic [COUNT_W-1:0] y, x, g, ky, kx, c, next_y, next_x, next_g, next_ky, next_kx, next_c;
  logic [2:0] in_frame, out_frame, fetch_frame, frame;
  logic begun = 1'b0;
  logic push, pop, word, following, stuck, s_axis_tready, m_axis_tvalid, m_axis_tdata;
  (* anyconst *) logic [POS_W-1:0] place;

  bnn_swg #(
      .CHANNELS(CHANNELS),
      .GROUPS  (GROUPS),
      .HEIGHT  (HEIGHT),
      .WIDTH   (WIDTH),
      .KERNEL_H(KERNEL),
      .KERNEL_W(KERNEL),
      .STRIDE_H(STRIDE),
      .STRIDE_W(STRIDE),
      .DEPTH   (DEPTH)
  ) u_dut (
      .*
  );
  axis_rules #(
      .DATA_W(1)
  ) u_rules (
      .clk   (clk),
      .rst_n (rst_n),
      .tdata (m_axis_tdata),
      .tvalid(m_axis_tvalid),
      .tready(m_axis_tready)
  );

  // The unit's registers: connected when the hierarchy is gone.
  logic [DEPTH-1:0] spy_beats;
  logic [ADDR_W-1:0] spy_tail, spy_base, spy_addr;
  logic [BEAT_W-1:0] spy_beat;
  logic [KY_W-1:0] spy_ky;
  logic [X_W-1:0] spy_x;
  logic [Y_W-1:0] spy_y;
  logic signed [HAVE_W-1:0] spy_have, spy_offset;
  logic [PART_W-1:0] spy_part;
  logic [HAVE_W-1:0] spy_next;

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  // What leaves after the next.
  always_comb begin
    {next_y, next_x, next_g, next_ky, next_kx, next_c} = {y, x, g, ky, kx, c};
    next_c = (c == COUNT_W'(PART - 1)) ? '0 : c + 1'b1;
    if (next_c == '0) next_kx = (kx == COUNT_W'(KERNEL - 1)) ? '0 : kx + 1'b1;
    if ({next_c, next_kx} == '0) next_ky = (ky == COUNT_W'(KERNEL - 1)) ? '0 : ky + 1'b1;
    if ({next_c, next_kx, next_ky} == '0) next_g = (g == COUNT_W'(GROUPS - 1)) ? '0 : g + 1'b1;
    if ({next_c, next_kx, next_ky, next_g} == '0) next_x = (x == COUNT_W'(COLUMNS - 1)) ? '0 : x + 1'b1;
    if ({next_c, next_kx, next_ky, next_g, next_x} == '0) next_y = (y == COUNT_W'(ROWS - 1)) ? '0 : y + 1'b1;
  end

  function automatic logic signed [POS_W-1:0] start(input logic [COUNT_W-1:0] row,
                                                    input logic [COUNT_W-1:0] column);
    start = POS_W'((32'(row) * STRIDE * WIDTH + 32'(column) * STRIDE) * CHANNELS);
  endfunction

  // A place within a window: kernel row and column, group, channel in it.
  function automatic logic signed [POS_W-1:0] inner(input logic [4*COUNT_W-1:0] at);
    inner = POS_W'((32'(at[3*COUNT_W+:COUNT_W]) * WIDTH + 32'(at[2*COUNT_W+:COUNT_W])) * CHANNELS +
        32'(at[COUNT_W+:COUNT_W]) * PART + 32'(at[0+:COUNT_W]));
  endfunction

  // The modulus of a position in the buffer, which is less than one round off on either side.
  function automatic logic [15:0] around(input logic signed [15:0] position);
    around = position;
    if (position < 0) around = position + 16'(DEPTH);
    if (position >= $signed(16'(DEPTH))) around = position - 16'(DEPTH);
  endfunction

  // What the unit fetches next: one beat is in its output register while tvalid is high.
  logic [COUNT_W-1:0] at_y, at_x, at_g, at_ky, at_kx, at_c;
  logic ends;
  // In beats, from the start of a frame on: of the fetched window, of what leaves, of the input (in what leaves' frame).
  logic signed [POS_W-1:0] window, offset, leaving, taken;
  // From the fetched window on: of the input, of the followed beat.
  logic signed [POS_W-1:0] ahead, distance;
  logic signed [2:0] since;
  logic signed [2:0] lead, behind;

  assign ends = {next_y, next_x, next_g, next_ky, next_kx, next_c} == '0;
  assign {at_y, at_x, at_g, at_ky, at_kx, at_c} =
      m_axis_tvalid ? {next_y, next_x, next_g, next_ky, next_kx, next_c} : {y, x, g, ky, kx, c};
  assign fetch_frame = out_frame + 3'(m_axis_tvalid && ends);
  assign window = start(at_y, at_x);
  assign offset = inner({at_ky, at_kx, at_g, at_c});
  assign leaving = start(y, x) + inner({ky, kx, g, c});
  assign since = in_frame - out_frame;
  assign taken = POS_W'(since) * $signed(POS_W'(FRAME)) + $signed(in_pos);
  assign lead = in_frame - fetch_frame;
  assign behind = frame - fetch_frame;
  assign ahead = POS_W'(lead) * $signed(POS_W'(FRAME)) + $signed(in_pos) - window;
  assign distance = POS_W'(behind) * $signed(POS_W'(FRAME)) + $signed(place) - window;

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    stuck <= rst_n && !s_axis_tready && !m_axis_tvalid;
    if (!rst_n) begin
      {y, x, g, ky, kx, c} <= '0;
      in_pos               <= '0;
      in_frame             <= '0;
      out_frame            <= '0;
      following            <= 1'b0;
    end else begin
      if (push) begin
        in_pos <= (in_pos == POS_W'(FRAME - 1)) ? '0 : in_pos + 1'b1;
        if (in_pos == POS_W'(FRAME - 1)) in_frame <= in_frame + 1'b1;
      end
      if (pop) begin
        {y, x, g, ky, kx, c} <= {next_y, next_x, next_g, next_ky, next_kx, next_c};
        if (ends) out_frame <= out_frame + 1'b1;
      end
      if (!following && push && in_pos == place && lead >= 0 && pick) begin
        following <= 1'b1;
        frame     <= in_frame;
        word      <= s_axis_tdata;
      end else if (following && pop && ends && out_frame == frame) following <= 1'b0;
    end
  end

  always_comb begin
    assume (place < POS_W'(FRAME));
    if (!begun)
      assume (!rst_n);
      else begin
        // The promises.
        if (stuck) assert (s_axis_tready || m_axis_tvalid);
        if (m_axis_tvalid) assert (leaving < taken);
        if (following && m_axis_tvalid && out_frame == frame && leaving == $signed(place))
          assert (m_axis_tdata == word);
`ifndef PROMISES
        // What they follow from.
        assert (in_pos < POS_W'(FRAME));
        assert (y < ROWS && x < COLUMNS && g < GROUPS && ky < KERNEL && kx < KERNEL && c < PART);
        assert (spy_y == Y_W'(at_y) && spy_x == X_W'(at_x) && spy_ky == KY_W'(at_ky));
        assert (spy_beat == BEAT_W'(32'(at_kx) * PART + 32'(at_c)));
        assert (spy_offset == HAVE_W'(offset));
        assert (spy_have == HAVE_W'(ahead));
        assert (ahead <= $signed(POS_W'(DEPTH)));
        assert (ahead >= $signed(POS_W'(EXTENT)) - $signed(POS_W'(LARGEST)));
        assert (32'(spy_base) < DEPTH);
        assert (16'(spy_tail) == around(16'(spy_base) + 16'(spy_have)));
        assert (16'(spy_addr) == around(16'(spy_base) + 16'(spy_offset)));
        assert (lead >= -3'sd1 && lead <= 3'sd2);
        if (following) begin
          assert (3'(in_frame - frame) < 3'd4);
          assert (in_frame != frame || in_pos > place);
          assert (behind >= -3'sd1 && behind <= 3'sd2);
          assert (3'(out_frame - frame) != 3'd1);
          for (int unsigned i = 0; i < DEPTH; i++) begin
            if (distance >= 0 && around(16'(spy_base) + 16'(distance)) == 16'(i))
              assert (spy_beats[i] == word);
          end
        end
`endif
      end
  end

`ifndef PROMISES
  if (GROUPS > 1) begin : g_groups
    always_comb begin
      if (begun) assert (spy_part == PART_W'(at_c) && spy_next == HAVE_W'((32'(at_g) + 1) * PART));
    end
  end
`endif

endmodule

`default_nettype wire
