// The number of constant thresholds that x reaches: all comparisons side by side, and then the number of those that
// hold. Combinational, or, with REGISTERED = 1, a register after the comparisons: latency 1 cycle.
`default_nettype none

module bf_threshold_comparisons #(
    parameter int                    IN_BITS    = 8,
    parameter int                    OUT_BITS   = 1,
    parameter int                    OUT_MIN    = 0,
    parameter int                    STEPS      = 1,
    parameter int                    REGISTERED = 0,
    parameter logic [STEPS*32-1:0]   BOUNDS     = '0,   // sorted
    parameter logic                  FALLS      = 1'b0  // 1: y counts the thresholds that x does not reach
) (
    input  wire logic                clk,
    input  wire logic [ IN_BITS-1:0] x,
    output      logic [OUT_BITS-1:0] y
);
  localparam int COUNT = $clog2(STEPS + 1);

  // Comparison with a constant, for lookup tables. Chains of 12 bits (four tables of four inputs in a row) side by side.
  function automatic logic from(input logic [IN_BITS-1:0] value, input logic [IN_BITS:0] bound);
    logic above, equal;
    from = 1'b1;
    for (int low = 0; low < IN_BITS; low += 12) begin
      above = 1'b0;
      equal = 1'b1;
      for (int i = low; i < low + 12 && i < IN_BITS; i++) begin
        above = bound[i] ? value[i] && above : value[i] || above;
        equal = equal && value[i] == bound[i];
      end
      from = above || (equal && from);
    end
    from = from && !bound[IN_BITS];
  endfunction

  logic [STEPS:1] hit, reached;
  for (genvar i = 1; i <= STEPS; i++) begin : g_step
    assign hit[i] = from(x, BOUNDS[32*(i-1)+:IN_BITS+1]);
  end
  if (REGISTERED != 0) begin : g_register
    always_ff @(posedge clk) reached <= hit;
  end else begin : g_wire
    assign reached = hit;
  end

  // Bit b of the number is set from every odd multiple of 2^b to the next even one.
  logic [COUNT-1:0] number;
  for (genvar b = 0; b < COUNT; b++) begin : g_bit
    localparam int PARTS = ((STEPS >> b) + 1) / 2;
    logic [PARTS-1:0] between;
    for (genvar part = 0; part < PARTS; part++) begin : g_part
      localparam int FIRST = (2 * part + 1) << b;
      if (FIRST + (1 << b) <= STEPS) begin : g_between
        assign between[part] = reached[FIRST] && !reached[FIRST+(1<<b)];
      end else begin : g_last
        assign between[part] = reached[FIRST];
      end
    end
    assign number[b] = between != '0;
  end
  logic [COUNT-1:0] steps;
  assign steps = FALLS ? COUNT'(STEPS) - number : number;
  assign y = OUT_BITS'(steps) + OUT_BITS'(OUT_MIN);
endmodule
