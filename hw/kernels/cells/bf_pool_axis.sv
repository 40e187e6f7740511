// Position of bf_pool along one axis of SIZE positions: consecutive windows of KERNEL positions, and a rest that fills
// no window. The outputs describe the present position; `step` moves to the next one. Latency from `step`: 1 cycle.
`default_nettype none

module bf_pool_axis #(
    parameter int SIZE   = 4,
    parameter int KERNEL = 2
) (
    input  wire logic clk,
    input  wire logic rst,
    input  wire logic step,   // move to the next position
    output      logic first,  // first position of a window
    output      logic last,   // last position of a window
    output      logic used,   // within a window
    output      logic done    // last position of the axis
);
  localparam int REST = SIZE % KERNEL;
  localparam int PLACE = SIZE > 1 ? $clog2(SIZE) : 1;
  localparam int OFFSET = KERNEL > 1 ? $clog2(KERNEL) : 1;

  logic [PLACE-1:0] place;
  logic [OFFSET-1:0] offset;
  assign done  = place == PLACE'(SIZE - 1);
  assign first = offset == '0;
  assign last  = offset == OFFSET'(KERNEL - 1);
  if (SIZE == 1) begin : g_one
    assign place = '0;
  end else begin : g_place
    always_ff @(posedge clk) begin
      if (rst) place <= '0;
      else if (step) place <= done ? '0 : place + PLACE'(1);
    end
  end
  if (KERNEL == 1) begin : g_each
    assign offset = '0;
  end else begin : g_offset
    always_ff @(posedge clk) begin
      if (rst) offset <= '0;
      else if (step) offset <= last || (REST > 0 && done) ? '0 : offset + OFFSET'(1);
    end
  end
  if (REST == 0) begin : g_all_used
    assign used = 1'b1;
  end else begin : g_rest
    always_ff @(posedge clk) begin
      if (rst) used <= 1'b1;
      else if (step && done) used <= 1'b1;
      else if (step && place == PLACE'(SIZE - REST - 1)) used <= 1'b0;
    end
  end
endmodule
