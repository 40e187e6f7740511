// Shift register: `q` is `d` of CYCLES cycles ago. With CYCLES = 0 it is a wire. It has no reset.
// Initiation interval: 1 cycle. Latency: CYCLES cycles.
`default_nettype none

module bf_delay #(
    parameter int WIDTH  = 1,
    parameter int CYCLES = 1
) (
    input  wire logic             clk,
    input  wire logic [WIDTH-1:0] d,
    output      logic [WIDTH-1:0] q
);
  if (CYCLES == 0) begin : g_wire
    assign q = d;
  end else begin : g_shift
    logic [CYCLES:0][WIDTH-1:0] stage;
    logic [CYCLES:1][WIDTH-1:0] stage_q;
    assign stage = {stage_q, d};
    always_ff @(posedge clk) stage_q <= stage[CYCLES-1:0];
    assign q = stage[CYCLES];
  end
endmodule
