/// What bnn_swg promises: every beat of every window is the input beat that it stands for; none is lost, doubled,
/// invented or late, and the unit never stops for good.
///
/// Any one place of the output map and its place in the input map are followed through the frames, counted here.
`default_nettype none

module swg #(
    /// Channels of a pixel, one a beat.
    parameter int unsigned CHANNELS = 1,
    /// Rows of the feature map [pixels].
    parameter int unsigned HEIGHT   = 3,
    /// Columns of the feature map [pixels].
    parameter int unsigned WIDTH    = 3,
    /// Rows and columns of a window [pixels].
    parameter int unsigned KERNEL   = 2,
    /// Pixels from one window to the next.
    parameter int unsigned STRIDE   = 1
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
  localparam int unsigned COUNT_W = $clog2(HEIGHT + WIDTH + CHANNELS + 1);

  (* anyconst *) logic [COUNT_W-1:0] row, column, row_in, column_in, channel;
  logic s_axis_tready, m_axis_tvalid, m_axis_tdata, push, pop, word;
  // Where the input stands, and where the output: window, pixel in it, channel. The frames of both, modulo four.
  logic [COUNT_W-1:0] in_y, in_x, in_c, out_y, out_x, out_ky, out_kx, out_c;
  logic [1:0] in_frame, out_frame, frame;
  logic begun = 1'b0;
  logic stuck, following, enters, leaves, passed;

  bnn_swg #(
      .CHANNELS(CHANNELS),
      .HEIGHT  (HEIGHT),
      .WIDTH   (WIDTH),
      .KERNEL_H(KERNEL),
      .KERNEL_W(KERNEL),
      .STRIDE_H(STRIDE),
      .STRIDE_W(STRIDE)
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

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop = m_axis_tvalid && m_axis_tready;
  assign enters = in_y == row * COUNT_W'(STRIDE) + row_in && in_x == column * COUNT_W'(STRIDE) + column_in &&
      in_c == channel;
  assign leaves = out_y == row && out_x == column && out_ky == row_in && out_kx == column_in && out_c == channel;
  // The place's beat of the input's frame has been taken.
  assign passed = {in_y, in_x, in_c} >
      {COUNT_W'(row * COUNT_W'(STRIDE) + row_in), COUNT_W'(column * COUNT_W'(STRIDE) + column_in), channel};

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      {in_y, in_x, in_c} <= '0;
      in_frame           <= '0;
    end else if (push) begin
      in_c <= (in_c == COUNT_W'(CHANNELS - 1)) ? '0 : in_c + 1'b1;
      if (in_c == COUNT_W'(CHANNELS - 1)) begin
        in_x <= (in_x == COUNT_W'(WIDTH - 1)) ? '0 : in_x + 1'b1;
        if (in_x == COUNT_W'(WIDTH - 1)) begin
          in_y <= (in_y == COUNT_W'(HEIGHT - 1)) ? '0 : in_y + 1'b1;
          if (in_y == COUNT_W'(HEIGHT - 1)) in_frame <= in_frame + 1'b1;
        end
      end
    end
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      {out_y, out_x, out_ky, out_kx, out_c} <= '0;
      out_frame                             <= '0;
    end else if (pop) begin
      out_c <= (out_c == COUNT_W'(CHANNELS - 1)) ? '0 : out_c + 1'b1;
      if (out_c == COUNT_W'(CHANNELS - 1)) begin
        out_kx <= (out_kx == COUNT_W'(KERNEL - 1)) ? '0 : out_kx + 1'b1;
        if (out_kx == COUNT_W'(KERNEL - 1)) begin
          out_ky <= (out_ky == COUNT_W'(KERNEL - 1)) ? '0 : out_ky + 1'b1;
          if (out_ky == COUNT_W'(KERNEL - 1)) begin
            out_x <= (out_x == COUNT_W'(COLUMNS - 1)) ? '0 : out_x + 1'b1;
            if (out_x == COUNT_W'(COLUMNS - 1)) begin
              out_y <= (out_y == COUNT_W'(ROWS - 1)) ? '0 : out_y + 1'b1;
              if (out_y == COUNT_W'(ROWS - 1)) out_frame <= out_frame + 1'b1;
            end
          end
        end
      end
    end
  end

  always_ff @(posedge clk) begin
    begun <= 1'b1;
    stuck <= rst_n && !s_axis_tready && !m_axis_tvalid;
    if (!rst_n) following <= 1'b0;
    else if (!following) begin
      following <= push && enters && pick;
      word      <= s_axis_tdata;
      frame     <= in_frame;
    end else if (pop && leaves && out_frame == frame) following <= 1'b0;
  end

  always_comb begin
    assume (row < COUNT_W'(ROWS) && column < COUNT_W'(COLUMNS) && channel < COUNT_W'(CHANNELS));
    assume (row_in < COUNT_W'(KERNEL) && column_in < COUNT_W'(KERNEL));
    if (!begun)
      assume (!rst_n);
      else begin
        if (stuck) assert (s_axis_tready || m_axis_tvalid);
        // The input is in the output's frame or one or two ahead, never behind.
        assert (2'(in_frame - out_frame) != 2'd3);
        if (m_axis_tvalid && leaves && in_frame == out_frame) assert (passed);
        if (following && m_axis_tvalid && leaves && out_frame == frame) assert (m_axis_tdata == word);
      end
  end

endmodule

`default_nettype wire
