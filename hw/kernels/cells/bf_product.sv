// Product of two variables: a * b == product + carry, with `product` in two's complement. Initiation interval: 1 cycle.
// PLANES = 0: a multiplier, both operands as two's complement. Latency: 2 cycles.
// PLANES > 0: `b`, shifted, is added or subtracted once for each of the PLANES digits of `a`; this takes PLANES - 1
// adders, and the 1 that completes a subtraction is a carry bit. Latency: that of a bf_adder_tree of PLANES operands.
`default_nettype none

module bf_product #(
    parameter  int           A_BITS           = 1,          // bits of a code of `a`
    // "bipolar" (0: -1, 1: +1), "ternary", "signed" or "unsigned"
    parameter  logic [127:0] A_KIND           = "bipolar",
    parameter  int           B_BITS           = 8,          // bits of `b`, two's complement
    parameter  int           PLANES           = 1,          // 1 for "bipolar" and "ternary", else A_BITS, or 0
    parameter  int           ADDERS_PER_STAGE = 2,          // adders between two registers
    localparam int           A                = A_KIND == "unsigned" ? A_BITS + 1 : A_BITS,
    localparam int           OUT              = PLANES == 0 ? A + B_BITS : B_BITS + PLANES - 1 + $clog2(PLANES)
) (
    input  wire logic              clk,
    input  wire logic [A_BITS-1:0] a,
    input  wire logic [B_BITS-1:0] b,
    output      logic [   OUT-1:0] product,
    output      logic              carry
);
  if (PLANES == 0) begin : g_multiply
    bf_products #(
        .COUNT (1),
        .A_BITS(A),
        .B_BITS(B_BITS),
        .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
    ) multiplier (
        .clk,
        .a  (A'({A_KIND == "signed" && a[A_BITS-1], a})),
        .b,
        .sum(product)
    );
    assign carry = 1'b0;
  end else begin : g_planes
    localparam int WIDTH = B_BITS + PLANES - 1;
    logic [PLANES-1:0][WIDTH-1:0] operand;
    logic [PLANES-1:0] some, minus;
    for (genvar p = 0; p < PLANES; p++) begin : g_plane
      logic [WIDTH-1:0] shifted;
      assign shifted = WIDTH'({{WIDTH{b[B_BITS-1]}}, b}) << p;
      if (A_KIND == "bipolar") begin : g_bipolar
        assign some[p]  = 1'b1;
        assign minus[p] = !a[0];
      end else begin : g_digit
        assign some[p]  = a[p];
        assign minus[p] = a[p] && (A_KIND == "ternary" ? a[A_BITS-1] : A_KIND == "signed" && p == PLANES - 1);
      end
      assign operand[p] = minus[p] ? ~shifted : some[p] ? shifted : '0;
    end
    bf_adder_tree #(
        .COUNT (PLANES),
        .WIDTH (WIDTH),
        .SIGNED(1),
        .CARRY (1),  // also of unsigned `a`: Yosys makes a tree without carry bits of more lookup tables
        .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
    ) tree (
        .clk,
        .operands (operand),
        .carry    (minus),
        .sum      (product),
        .carry_out(carry)
    );
  end
endmodule
