// Exit: a verdict of a bit for each frame, then the frame's BEATS beats, which pass if the verdict is 0 and are dropped
// if it is 1. Initiation interval: 1 verdict or beat per cycle. Latency: 2 cycles.
`default_nettype none

module bf_exit #(
    parameter int WIDTH = 8,  // bits of a beat
    parameter int BEATS = 4   // beats of a frame
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic [1:0]       s_valid,
    output      logic [1:0]       s_ready,
    input  wire logic [WIDTH:0]   s_data,   // the verdict in the low bit
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [WIDTH-1:0] m_data
);
  localparam int COUNT = BEATS > 1 ? $clog2(BEATS) : 1;

  // Whether a verdict is here, which one, and the beats of the frame after this one.
  logic known, leaves, credit, read, fired;
  logic [COUNT-1:0] left;
  logic [WIDTH-1:0] beat;
  assign s_ready = {known && (leaves || credit), !known};
  assign read    = s_valid[1] && s_ready[1];
  always_ff @(posedge clk) begin
    if (rst) begin
      known <= 1'b0;
      left  <= '0;
    end else if (!known) begin
      known <= s_valid[0];
      left  <= COUNT'(BEATS - 1);
    end else if (read) begin
      known <= left != '0;
      left  <= left - COUNT'(1);
    end
    if (!known) leaves <= s_data[0];
    fired <= read && !leaves && !rst;
    beat  <= s_data[WIDTH:1];
  end

  bf_stream_out #(
      .WIDTH  (WIDTH),
      .CREDITS(3)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(read && !leaves),
      .push (fired),
      .data (beat),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
