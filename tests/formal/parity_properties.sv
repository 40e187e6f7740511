// Properties of bf_parity: `parity_error` is high LATENCY cycles after a used word with an even number of ones, and only
// then.
`default_nettype none

module parity_properties #(
    parameter  int WIDTH   = 9,
    localparam int LATENCY = WIDTH <= 16 ? 2 : WIDTH <= 256 ? 3 : 4
) (
    input wire logic             clk,
    input wire logic             rst,
    input wire logic             used,
    input wire logic [WIDTH-1:0] word,
    input wire logic             parity_error
);
  logic odd;
  always_comb begin
    odd = 1'b0;
    for (int i = 0; i < WIDTH; i++) if (word[i]) odd = !odd;
  end
  // A reset forgets the words on their way.
  logic [LATENCY:1] wrong;
  always_ff @(posedge clk) wrong <= rst ? '0 : LATENCY'({wrong, used && !odd});
  always_comb assert (parity_error == wrong[LATENCY]);

  (* keep *) logic reached;
  assign reached = wrong == LATENCY'(1) << (LATENCY - 1);
endmodule

bind bf_parity parity_properties #(
    .WIDTH(WIDTH)
) properties (
    .*
);
