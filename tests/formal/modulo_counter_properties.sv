// Properties of bf_modulo_counter: `last` is high in every COUNT-th turn, counted from the reset.
`default_nettype none

module modulo_counter_properties #(
    parameter int COUNT = 4
) (
    input wire logic clk,
    input wire logic rst,
    input wire logic step,
    input wire logic last
);
  // The turns as a one-hot ring.
  logic [COUNT-1:0] ring;
  always_ff @(posedge clk) begin
    if (rst) ring <= COUNT'(1);
    else if (step) ring <= COUNT'({ring, ring} >> (COUNT - 1));
  end
  always_comb assert (last == ring[COUNT-1]);
  if (COUNT > 1) begin : g_count
    // Invariant: exactly one turn, and the counter's.
    always_comb begin
      for (int i = 0; i < COUNT; i++) assert (ring[i] == (int'(bf_modulo_counter.g_count.turn) == i));
      assert (int'(bf_modulo_counter.g_count.turn) < COUNT);
    end
  end

  logic wrapped;
  (* keep *) logic reached;
  always_ff @(posedge clk) wrapped <= !rst && (wrapped || (step && last));
  assign reached = wrapped && last;
endmodule

bind bf_modulo_counter modulo_counter_properties #(
    .COUNT(COUNT)
) properties (
    .*
);
