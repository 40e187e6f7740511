// Shift register: `q` is `d` of CYCLES cycles ago; 0 is a wire. Not reset.
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
    assign stage[0] = d;
    always_ff @(posedge clk) stage[CYCLES:1] <= stage[CYCLES-1:0];
    assign q = stage[CYCLES];
  end
endmodule
