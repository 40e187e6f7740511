// Converts the beats of several streams to integers of one type, side by side. Combinational: wires and inverters.
`default_nettype none

module bf_align_operands #(
    parameter int                   INPUTS   = 2,
    parameter logic [32*INPUTS-1:0] LANES    = {INPUTS{32'd1}},  // elements of a beat of each input
    parameter logic [32*INPUTS-1:0] IN_BITS  = {INPUTS{32'd8}},  // bits of an element
    parameter logic [32*INPUTS-1:0] IN_KIND  = '0,               // 0: unsigned; 1: two's complement; 2: bipolar
    parameter int                   IN_TOTAL = 16,               // bits of all beats
    parameter int                   TOTAL    = 2,                // sum of LANES
    parameter int                   OUT_BITS = 8
) (
    input  wire logic [IN_TOTAL-1:0]            codes,    // input 0 in the low bits
    output      logic [TOTAL*OUT_BITS-1:0] integers
);
  function automatic int lanes(input int index);  // of the inputs before this one
    lanes = 0;
    for (int i = 0; i < index; i++) lanes += int'(LANES[32*i+:32]);
  endfunction
  function automatic int below(input int index);  // bits of the inputs before this one
    below = 0;
    for (int i = 0; i < index; i++) below += int'(LANES[32*i+:32]) * int'(IN_BITS[32*i+:32]);
  endfunction
`ifndef __ICARUS__
  if (below(INPUTS) != IN_TOTAL || lanes(INPUTS) != TOTAL) begin : g_bad_total
    $error("bf_align_operands: IN_TOTAL or TOTAL is not the sum over the inputs");
  end
`endif
  for (genvar i = 0; i < INPUTS; i++) begin : g_input
    localparam int EACH = int'(LANES[32*i+:32]);
    localparam logic [31:0] CODE = IN_KIND[32*i+:32];
    localparam logic [127:0] KIND = 128'(CODE == 32'd2 ? "bipolar" : CODE == 32'd1 ? "signed" : "unsigned");
    bf_widen #(
        .LANES   (EACH),
        .IN_BITS (int'(IN_BITS[32*i+:32])),
        .OUT_BITS(OUT_BITS),
        .KIND    (KIND)
    ) widen_input (
        .codes   (codes[below(i)+:EACH*int'(IN_BITS[32*i+:32])]),
        .integers(integers[lanes(i)*OUT_BITS+:EACH*OUT_BITS])
    );
  end
endmodule
