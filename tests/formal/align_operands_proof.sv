// Proof of the cell that makes the beats of two streams integers of one type: an unsigned, signed or bipolar code of one
// input, and another of the other, are their integers modulo 2^OUT_BITS.
`default_nettype none

module align_operands_proof #(
    parameter int KIND0    = 0,  // 0: unsigned; 1: two's complement; 2: bipolar
    parameter int KIND1    = 1,
    parameter int BITS0    = 2,
    parameter int BITS1    = 3,
    parameter int LANES0   = 2,
    parameter int LANES1   = 1,
    parameter int OUT_BITS = 5
) (
    input wire logic [LANES0-1:0][BITS0-1:0] codes0,
    input wire logic [LANES1-1:0][BITS1-1:0] codes1
);
  logic [LANES0+LANES1-1:0][OUT_BITS-1:0] integers;
  bf_align_operands #(
      .INPUTS  (2),
      .LANES   ({LANES1, LANES0}),
      .IN_BITS ({BITS1, BITS0}),
      .IN_KIND ({KIND1, KIND0}),
      .IN_TOTAL(LANES0 * BITS0 + LANES1 * BITS1),
      .TOTAL   (LANES0 + LANES1),
      .OUT_BITS(OUT_BITS)
  ) dut (
      .codes({codes1, codes0}),
      .integers
  );
  function automatic logic [OUT_BITS-1:0] integer_of(input int code, input int bits, input int kind);
    if (kind == 2) integer_of = code == 1 ? OUT_BITS'(1) : OUT_BITS'(-1);
    else if (kind == 1 && code >= (1 << (bits - 1))) integer_of = OUT_BITS'(code - (1 << bits));
    else integer_of = OUT_BITS'(code);
  endfunction
  always_comb begin
    for (int i = 0; i < LANES0; i++) assert (integers[i] == integer_of(int'(codes0[i]), BITS0, KIND0));
    for (int i = 0; i < LANES1; i++) assert (integers[LANES0+i] == integer_of(int'(codes1[i]), BITS1, KIND1));
  end

  (* keep *) logic reached;
  assign reached = integers[0] == OUT_BITS'(1);
endmodule
