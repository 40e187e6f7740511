// Sum or difference of two operands, each shifted left, whose bits overlap in few places: lookup tables, no carry chain.
// y = (a << A_SHIFT) +- (b << B_SHIFT) modulo 2^WIDTH. Combinational.
//
// With BF_LUT4 (Yosys for ECP5) the tables are stated: a carry chain of ECP5 needs cells of its own to begin, and Yosys
// makes three to four times as many tables of an adder of four bits. The tables of the first two bits read both; from
// there on a bit has a table for the sum and one for its carry. The last of four bits or more reads the operands of the
// bit before instead of its carry, which is a table less in series. Bits below the second operand pass.
`default_nettype none

`ifdef BF_LUT4
(* blackbox *)
module LUT4 #(
    parameter logic [15:0] INIT = 16'd0
) (
    input  wire logic A,
    input  wire logic B,
    input  wire logic C,
    input  wire logic D,
    output wire logic Z
);
endmodule
`endif

module bf_short_adder #(
    parameter int WIDTH    = 4,  // bits of the sum
    parameter int A_BITS   = 3,
    parameter int A_SHIFT  = 0,
    parameter int A_SIGNED = 0,  // 1: two's complement
    parameter int B_BITS   = 3,
    parameter int B_SHIFT  = 0,
    parameter int B_SIGNED = 0,
    parameter int B_MINUS  = 0   // 1: b is subtracted
) (
    input  wire logic [A_BITS-1:0] a,
    input  wire logic [B_BITS-1:0] b,
    output      logic [ WIDTH-1:0] y
);
  // The operands in the places of the sum.
  logic [WIDTH-1:0] a_placed, b_placed;
  assign a_placed = WIDTH'({{WIDTH{A_SIGNED != 0 && a[A_BITS-1]}}, a}) << A_SHIFT;
  assign b_placed = WIDTH'({{WIDTH{B_SIGNED != 0 && b[B_BITS-1]}}, b}) << B_SHIFT;

`ifdef BF_LUT4
  localparam logic MINUS = B_MINUS != 0;
  localparam int FIRST = A_SHIFT > B_SHIFT && !MINUS ? A_SHIFT : B_SHIFT;  // below it one operand passes

  // Carry and sum of one bit (in that order).
  function automatic logic [1:0] add(logic p, logic q, logic carry);
    logic q_inverted;
    q_inverted = q ^ MINUS;
    return {(p & q_inverted) | (p & carry) | (q_inverted & carry), p ^ q_inverted ^ carry};
  endfunction

  // The contents of a table of inputs p, q and a carry: of the sum of a bit, or (of = 1) of its carry.
  function automatic logic [15:0] of_bit(int of, logic inverted);
    for (int i = 0; i < 16; i++) of_bit[i] = 1'(add(i[0], i[1], i[2]) >> of) ^ inverted;
  endfunction

  // The contents of a table of inputs p, q of the first bit and p, q of the second: of the second bit's sum or carry.
  function automatic logic [15:0] of_two(int of, logic inverted);
    logic [1:0] low;
    for (int i = 0; i < 16; i++) begin
      low = add(i[0], i[1], MINUS);
      of_two[i] = 1'(add(i[2], i[3], low[1]) >> of) ^ inverted;
    end
  endfunction

  // Whether bit k of both operands is 0 for any value: the sum has the carry there, or the inverted carry.
  function automatic logic ends(int k);
    return A_SIGNED == 0 && B_SIGNED == 0 && k >= A_SHIFT + A_BITS && k >= B_SHIFT + B_BITS;
  endfunction

  // The contents of the table of a sum: inputs are p and q of the bit below with its carry, and p ^ q of the bit.
  function automatic logic [15:0] of_last();
    logic [1:0] below;
    for (int i = 0; i < 16; i++) begin
      below = add(i[0], i[1], i[2]);
      of_last[i] = below[1] ^ i[3];
    end
  endfunction

  // Whether bit k is a last one whose sum needs no carry of the bit before.
  function automatic logic skips(int k);
    return k == WIDTH - 1 && k > FIRST + 2 && !ends(k);
  endfunction

  logic [WIDTH:FIRST] carry;
  for (genvar k = FIRST; k < WIDTH; k++) begin : g_bit
    if (k == FIRST) begin : g_first
      assign y[k] = a_placed[k] ^ b_placed[k];
      if (k + 1 < WIDTH && ends(k + 1)) begin : g_end
        assign carry[k+1] = (a_placed[k] ^ MINUS) & b_placed[k];
      end
    end else if (ends(k)) begin : g_carry
      assign y[k] = carry[k];
      assign carry[k+1] = MINUS && carry[k];  // a borrow is the sign of all further bits, a carry is one bit
    end else if (k == FIRST + 1) begin : g_second
      LUT4 #(.INIT(of_two(0, 1'b0))) sum_of_bits (
          .A(a_placed[k-1]), .B(b_placed[k-1]), .C(a_placed[k]), .D(b_placed[k]), .Z(y[k]));
      if (k + 1 < WIDTH) begin : g_carry
        LUT4 #(.INIT(of_two(1, MINUS & ends(k + 1)))) carry_of_bits (
            .A(a_placed[k-1]), .B(b_placed[k-1]), .C(a_placed[k]), .D(b_placed[k]), .Z(carry[k+1]));
      end
    end else if (skips(k)) begin : g_last
      logic differ;
      assign differ = a_placed[k] ^ b_placed[k] ^ MINUS;
      LUT4 #(.INIT(of_last())) sum_of_bits (
          .A(a_placed[k-1]), .B(b_placed[k-1]), .C(carry[k-1]), .D(differ), .Z(y[k]));
    end else begin : g_later
      LUT4 #(.INIT(of_bit(0, 1'b0))) sum_of_bit (
          .A(a_placed[k]), .B(b_placed[k]), .C(carry[k]), .D(1'b0), .Z(y[k]));
      if (k + 1 < WIDTH && !skips(k + 1)) begin : g_carry
        LUT4 #(.INIT(of_bit(1, MINUS & ends(k + 1)))) carry_of_bit (
            .A(a_placed[k]), .B(b_placed[k]), .C(carry[k]), .D(1'b0), .Z(carry[k+1]));
      end
    end
  end
  if (FIRST > 0) begin : g_pass
    assign y[FIRST-1:0] = a_placed[FIRST-1:0] | b_placed[FIRST-1:0];
  end
`else
  assign y = B_MINUS != 0 ? a_placed - b_placed : a_placed + b_placed;
`endif
endmodule
