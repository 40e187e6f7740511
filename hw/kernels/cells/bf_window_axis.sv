// One coordinate of a sliding window: marks the LANES positions at + AT[i] of a part that lie in the image, 0..SIZE-1,
// and not in the padding. `part` moves to the next part of a window, `again` back to its first part, `next` to the
// first part of the next window, `first` to that of the first window.
// Initiation interval: 1 cycle. Latency from the coordinate to `image`: 1 cycle.
`default_nettype none

module bf_window_axis #(
    parameter int                  SIZE    = 8,
    parameter int                  BEFORE  = 1,  // padding before the image
    parameter int                  WINDOWS = 8,
    parameter int                  STRIDE  = 1,
    parameter int                  PARTS   = 3,
    parameter int                  PART    = 1,  // from one part to the next
    parameter int                  LANES   = 1,
    parameter logic [32*LANES-1:0] AT      = '0  // from 0, increasing
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             move,
    input  wire logic             part,
    input  wire logic             again,
    input  wire logic             next,
    input  wire logic             first,
    output      logic [LANES-1:0] image
);
  localparam int LAST = (WINDOWS - 1) * STRIDE + (PARTS - 1) * PART + int'(AT[32*(LANES-1)+:32]);
  localparam int BITS = $clog2((LAST > BEFORE + SIZE ? LAST : BEFORE + SIZE) + 1);
  localparam int BACK = (PARTS - 1) * PART;

  // Counted from the beginning of the padding.
  logic [BITS-1:0] at, by;
  always_comb begin
    by = '0;
    if (part) by |= BITS'(PART);
    if (again) by |= BITS'(-BACK);
    if (next) by |= BITS'(STRIDE - BACK);
  end
  always_ff @(posedge clk) begin
    if (rst) at <= '0;
    else if (move) at <= first ? '0 : at + by;
  end

  for (genvar i = 0; i < LANES; i++) begin : g_lane
    localparam int LOW = BEFORE - int'(AT[32*i+:32]);
    localparam int HIGH = LOW + SIZE;
    logic above, below;
    if (LOW <= 0) begin : g_above
      assign above = 1'b1;
    end else begin : g_from
      assign above = at >= BITS'(LOW);
    end
    if (HIGH <= 0) begin : g_never
      assign below = 1'b0;
    end else begin : g_to
      assign below = at < BITS'(HIGH);
    end
    always_ff @(posedge clk) image[i] <= above && below;
  end
endmodule
