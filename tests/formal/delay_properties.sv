// Properties of bf_delay: `q` is `d` of CYCLES cycles ago, here found by a ring of past inputs.
`default_nettype none

module delay_properties #(
    parameter int WIDTH  = 1,
    parameter int CYCLES = 1
) (
    input wire logic             clk,
    input wire logic [WIDTH-1:0] d,
    input wire logic [WIDTH-1:0] q
);
  logic [CYCLES:0][WIDTH-1:0] past;  // past[i]: the input of i cycles ago
  logic [CYCLES:0] known;
  logic [CYCLES:1][WIDTH-1:0] past_q;
  logic [CYCLES:1] known_q;
  initial known_q = '0;
  assign past  = {past_q, d};
  assign known = {known_q, 1'b1};
  always_ff @(posedge clk) begin
    past_q  <= past[CYCLES-1:0];
    known_q <= known[CYCLES-1:0];
  end
  always_comb if (known[CYCLES]) assert (q == past[CYCLES]);

  (* keep *) logic reached;
  assign reached = known[CYCLES] && q != d;
endmodule

bind bf_delay delay_properties #(
    .WIDTH (WIDTH),
    .CYCLES(CYCLES)
) properties (
    .*
);
