// Product with FACTOR * 2^SHIFT modulo 2^BITS by shifts and adders: one adder for each digit but the first of the canonical
// signed-digit form of FACTOR (the form with the fewest digits -1, 0, +1). Combinational.
`default_nettype none

module bf_const_multiply #(
    parameter int BITS   = 8,
    parameter int FACTOR = 1,  // of at most 30 bits
    parameter int SHIFT  = 0
) (
    input  wire logic [BITS-1:0] value,
    output      logic [BITS-1:0] product
);
  // 3 F and F differ where 2 F has a digit, and the higher bit there is its sign.
  localparam bit [31:0] ONCE = FACTOR;
  localparam bit [31:0] THRICE = 3 * FACTOR;
  always_comb begin
    product = '0;
    for (int digit = 0; digit < 31; digit++) begin
      if (THRICE[digit+1] && !ONCE[digit+1]) product = product + (value << (digit + SHIFT));
      if (!THRICE[digit+1] && ONCE[digit+1]) product = product - (value << (digit + SHIFT));
    end
  end
endmodule
