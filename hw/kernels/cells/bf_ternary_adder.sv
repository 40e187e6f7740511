// Sum of three operands, each shifted left, and added or subtracted; two of the three may be subtracted.
// y = +-(a << A_SHIFT) +- (b << B_SHIFT) +- (c << C_SHIFT) modulo 2^WIDTH. Combinational.
//
// With BF_LUT6_2 (Yosys for 7 series) a bit of the sum is one lookup table with two outputs and one step of the carry
// chain. The outputs are the sum and the majority of the three operands' bits; the chain adds to the sum the majority
// of the bit below. Each operand that is subtracted is inverted, and a 1 is added: the first in the majority below the
// chain, the second in the chain's carry in. Bits below the second operand pass.
`default_nettype none

`ifdef BF_LUT6_2
(* blackbox *)
module LUT6_2 #(
    parameter logic [63:0] INIT = 64'd0
) (
    output wire logic O6,
    output wire logic O5,
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic I2,
    input  wire logic I3,
    input  wire logic I4,
    input  wire logic I5
);
endmodule

(* blackbox *)
module CARRY4 (
    output wire logic [3:0] CO,
    output wire logic [3:0] O,
    input  wire logic       CI,
    input  wire logic       CYINIT,
    input  wire logic [3:0] DI,
    input  wire logic [3:0] S
);
endmodule
`endif

module bf_ternary_adder #(
    parameter int WIDTH    = 6,  // bits of the sum
    parameter int A_BITS   = 4,
    parameter int A_SHIFT  = 0,
    parameter int A_SIGNED = 0,  // 1: two's complement
    parameter int A_MINUS  = 0,  // 1: a is subtracted
    parameter int B_BITS   = 4,
    parameter int B_SHIFT  = 0,
    parameter int B_SIGNED = 0,
    parameter int B_MINUS  = 0,
    parameter int C_BITS   = 4,
    parameter int C_SHIFT  = 0,
    parameter int C_SIGNED = 0,
    parameter int C_MINUS  = 0
) (
    input  wire logic [A_BITS-1:0] a,
    input  wire logic [B_BITS-1:0] b,
    input  wire logic [C_BITS-1:0] c,
    output      logic [ WIDTH-1:0] y
);
`ifndef __ICARUS__
  if (A_MINUS + B_MINUS + C_MINUS > 2) begin : g_bad_signs
    $error("bf_ternary_adder: at most two operands can be subtracted");
  end
`endif
  // The operands in the places of the sum.
  logic [WIDTH-1:0] a_placed, b_placed, c_placed;
  assign a_placed = WIDTH'({{WIDTH{A_SIGNED != 0 && a[A_BITS-1]}}, a}) << A_SHIFT;
  assign b_placed = WIDTH'({{WIDTH{B_SIGNED != 0 && b[B_BITS-1]}}, b}) << B_SHIFT;
  assign c_placed = WIDTH'({{WIDTH{C_SIGNED != 0 && c[C_BITS-1]}}, c}) << C_SHIFT;

`ifdef BF_LUT6_2
  // The first bit of the chain: the lowest one of the second operand, or of the lowest operand if it is subtracted.
  localparam int LEAST  = A_SHIFT < B_SHIFT ? (A_SHIFT < C_SHIFT ? A_SHIFT : C_SHIFT) : (B_SHIFT < C_SHIFT ? B_SHIFT : C_SHIFT);
  localparam int MOST   = A_SHIFT > B_SHIFT ? (A_SHIFT > C_SHIFT ? A_SHIFT : C_SHIFT) : (B_SHIFT > C_SHIFT ? B_SHIFT : C_SHIFT);
  localparam int SECOND = A_SHIFT + B_SHIFT + C_SHIFT - LEAST - MOST;
  localparam int MINUS  = (A_SHIFT == LEAST && A_MINUS != 0) || (B_SHIFT == LEAST && B_MINUS != 0) || (C_SHIFT == LEAST && C_MINUS != 0);
  localparam int FIRST  = MINUS != 0 ? LEAST : SECOND;
  localparam int STEPS  = WIDTH - FIRST;
  localparam int CELLS  = (STEPS + 3) / 4;
  localparam logic [2:0] INVERT = {C_MINUS != 0, B_MINUS != 0, A_MINUS != 0};

  // The contents of the table: of inputs a, b, c, m (the majority below), the sum above and the majority of a, b, c,
  // which may be inverted.
  function automatic logic [63:0] contents(logic inverted);
    logic [2:0] abc;
    for (int i = 0; i < 32; i++) begin
      abc = i[2:0] ^ INVERT;
      contents[i] = ((abc[0] & abc[1]) | (abc[0] & abc[2]) | (abc[1] & abc[2])) ^ inverted;
      contents[32+i] = ^abc ^ i[3];
    end
  endfunction

  // Number of operands whose bit k, in the place of the sum, is not constant.
  function automatic int varying(int k);
    return int'(k >= A_SHIFT && (A_SIGNED != 0 || k < A_SHIFT + A_BITS)) +
        int'(k >= B_SHIFT && (B_SIGNED != 0 || k < B_SHIFT + B_BITS)) +
        int'(k >= C_SHIFT && (C_SIGNED != 0 || k < C_SHIFT + C_BITS));
  endfunction

  // Whether bit k is the first behind all operands, and adds a constant 1 to the majority below.
  function automatic logic ends(int k);
    return k > FIRST && varying(k) == 0 && varying(k - 1) > 1 && ^INVERT;
  endfunction

  logic [WIDTH:FIRST] majority;  // of the bit below
  logic [4*CELLS-1:0] propagate, generated, sum;
  assign majority[FIRST] = INVERT != 0;
  for (genvar k = FIRST; k < WIDTH; k++) begin : g_bit
    if (varying(k) > 1) begin : g_table
      LUT6_2 #(
          .INIT(contents(ends(k + 1)))
      ) table_of_bit (
          .O6(propagate[k-FIRST]),
          .O5(majority[k+1]),
          .I0(a_placed[k]),
          .I1(b_placed[k]),
          .I2(c_placed[k]),
          .I3(majority[k]),
          .I4(1'b0),
          .I5(1'b1)
      );
      assign generated[k-FIRST] = majority[k];
    end else if (ends(k)) begin : g_end  // the majority below is inverted
      assign propagate[k-FIRST] = majority[k];
      assign generated[k-FIRST] = 1'b1;
      assign majority[k+1]      = 1'b0;
    end else begin : g_logic
      logic [2:0] abc;
      assign abc = {c_placed[k], b_placed[k], a_placed[k]} ^ INVERT;
      assign propagate[k-FIRST] = ^abc ^ majority[k];
      assign generated[k-FIRST] = majority[k];
      assign majority[k+1]      = (abc[0] & abc[1]) | (abc[0] & abc[2]) | (abc[1] & abc[2]);
    end
  end
  for (genvar k = STEPS; k < 4 * CELLS; k++) begin : g_unused
    assign propagate[k] = 1'b0;
    assign generated[k] = 1'b0;
  end
  logic [CELLS:0] carry;
  assign carry[0] = $countones(INVERT) == 2;
  for (genvar i = 0; i < CELLS; i++) begin : g_cell
    logic [3:0] carries;
    CARRY4 chain (
        .CO    (carries),
        .O     (sum[4*i+:4]),
        .CI    (i == 0 ? 1'b0 : carry[i]),
        .CYINIT(i == 0 ? carry[0] : 1'b0),
        .DI    (generated[4*i+:4]),
        .S     (propagate[4*i+:4])
    );
    assign carry[i+1] = carries[3];
  end
  if (FIRST > 0) begin : g_pass
    assign y = {sum[STEPS-1:0], a_placed[FIRST-1:0] | b_placed[FIRST-1:0] | c_placed[FIRST-1:0]};
  end else begin : g_sum
    assign y = sum[STEPS-1:0];
  end
`else
  assign y = (A_MINUS != 0 ? -a_placed : a_placed) + (B_MINUS != 0 ? -b_placed : b_placed) +
      (C_MINUS != 0 ? -c_placed : c_placed);
`endif
endmodule
