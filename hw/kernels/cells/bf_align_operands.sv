// The beats of several streams as integers of one type, side by side. Wires and inverters.
`default_nettype none

module bf_align_operands #(
    parameter int                    INPUTS   = 2,
    parameter bit [INPUTS-1:0][31:0] LANES    = {INPUTS{32'd1}}, // elements of a beat of each input
    parameter bit [INPUTS-1:0][31:0] IN_BITS  = {INPUTS{32'd8}}, // bits of an element
    parameter bit [INPUTS-1:0][31:0] IN_KIND  = '0,              // 0: unsigned; 1: two's complement; 2: bipolar
    parameter int                    IN_TOTAL = 16,              // bits of all beats
    parameter int                    TOTAL    = 2,               // sum of LANES
    parameter int                    OUT_BITS = 8
) (
    input  wire logic [IN_TOTAL-1:0]            codes,    // input 0 in the low bits
    output      logic [TOTAL-1:0][OUT_BITS-1:0] integers
);
  function automatic int lanes(input int index);  // of the inputs before this one
    lanes = 0;
    for (int i = 0; i < index; i++) lanes += int'(LANES[i]);
  endfunction
  function automatic int below(input int index);  // bits of the inputs before this one
    below = 0;
    for (int i = 0; i < index; i++) below += int'(LANES[i]) * int'(IN_BITS[i]);
  endfunction
  if (below(INPUTS) != IN_TOTAL || lanes(INPUTS) != TOTAL) begin : g_bad_total
    $error("bf_align_operands: IN_TOTAL or TOTAL is not the sum over the inputs");
  end
  for (genvar i = 0; i < INPUTS; i++) begin : g_input
    localparam int EACH = int'(LANES[i]);
    bf_widen #(
        .LANES   (EACH),
        .IN_BITS (int'(IN_BITS[i])),
        .OUT_BITS(OUT_BITS),
        .KIND    (IN_KIND[i] == 32'd2 ? "bipolar" : IN_KIND[i] == 32'd1 ? "signed" : "unsigned")
    ) widen_input (
        .codes   (codes[below(i)+:EACH*int'(IN_BITS[i])]),
        .integers(integers[lanes(i)+:EACH])
    );
  end
endmodule
