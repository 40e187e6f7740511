// Modulo-COUNT counter: `last` is high in the last of COUNT turns, and `step` ends a turn. `last` is a register.
// Initiation interval: 1 cycle. Latency from `step` to `last`: 1 cycle.
`default_nettype none

module bf_modulo_counter #(
    parameter int COUNT = 4
) (
    input  wire logic clk,
    input  wire logic rst,
    input  wire logic step,
    output      logic last
);
  if (COUNT == 1) begin : g_once
    assign last = 1'b1;
  end else begin : g_count
    localparam int BITS = $clog2(COUNT);
    logic [BITS-1:0] turn;
    always_ff @(posedge clk) begin
      if (rst) begin
        turn <= '0;
        last <= 1'b0;
      end else if (step) begin
        turn <= last ? '0 : turn + BITS'(1);
        last <= turn == BITS'(COUNT - 2) && !last;
      end
    end
  end
endmodule
