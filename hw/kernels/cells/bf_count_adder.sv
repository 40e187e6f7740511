// Sum of two counts and one bit more. Combinational.
//
// b is a number or, with B_COUNTED, two or three bits that are counted: the adder of ECP5 does that by itself. With
// BF_LUT4 (Yosys for ECP5) its cells are stated: a bit of a carry chain has a table of four inputs A, B, C and D, for
// the sum of its operands, and passes A on as the carry where that sum is 0. So A is a bit of one operand, and any
// function of the others that is 0 for C = D = 0 may be the other operand. The first bit of a chain takes the carry in.
`default_nettype none

`ifdef BF_LUT4
(* blackbox *)
module CCU2C #(
    parameter logic [15:0] INIT0 = 16'd0,
    parameter logic [15:0] INIT1 = 16'd0,
    parameter INJECT1_0 = "YES",
    parameter INJECT1_1 = "YES"
) (
    input  wire logic CIN,
    input  wire logic A0,
    input  wire logic B0,
    input  wire logic C0,
    input  wire logic D0,
    input  wire logic A1,
    input  wire logic B1,
    input  wire logic C1,
    input  wire logic D1,
    output wire logic S0,
    output wire logic S1,
    output wire logic COUT
);
endmodule
`endif

module bf_count_adder #(
    parameter int WIDTH     = 3,  // bits of the sum, which must not overflow
    parameter int A_BITS    = 2,
    parameter int B_BITS    = 2,
    parameter int B_COUNTED = 0   // 1: the two or three bits of b have the same weight
) (
    input  wire logic [A_BITS-1:0] a,
    input  wire logic [B_BITS-1:0] b,
    input  wire logic              carry,
    output      logic [ WIDTH-1:0] y
);
`ifdef BF_LUT4
  localparam int CELLS = (WIDTH + 2) / 2;

  // The inputs A, B, C and D of bit k of the chain, and the contents of its table. Bit 0 is that of the carry in.
  logic [3:0] operands[2*CELLS];
  function automatic logic [15:0] contents(int k);
    if (k == 0) return 16'h000A;  // carry A
    if (k > WIDTH) return 16'h0000;
    if (k == 1 && B_COUNTED != 0 && B_BITS == 2) return 16'h96AA;  // A + (B ^ C)
    if (k == 2 && B_COUNTED != 0 && B_BITS == 2) return 16'h6AAA;  // A + (B & C)
    if (k == 2 && B_COUNTED != 0) return 16'h566A;  // A + the majority of B, C and D
    return 16'h66AA;  // A + B
  endfunction
  for (genvar k = 0; k < 2 * CELLS; k++) begin : g_bit
    logic first, second;
    if (k >= 1 && k <= A_BITS) begin : g_first
      assign first = a[k-1];
    end else begin : g_none
      assign first = k == 0 && carry;
    end
    if (B_COUNTED == 0 && k >= 1 && k <= B_BITS) begin : g_second
      assign second = b[k-1];
    end else if (B_COUNTED != 0 && k == 1) begin : g_odd
      assign second = ^b;
    end else begin : g_zero
      assign second = 1'b0;
    end
    if (B_COUNTED != 0 && B_BITS == 2 && (k == 1 || k == 2)) begin : g_two
      assign operands[k] = {1'b1, b, first};
    end else if (B_COUNTED != 0 && k == 2) begin : g_three
      assign operands[k] = {b, first};
    end else begin : g_one
      assign operands[k] = {1'b1, k == 0, second, first};
    end
  end

  logic [2*CELLS-1:0] sums;
  logic [CELLS:0] carries;
  assign carries[0] = 1'b0;
  for (genvar i = 0; i < CELLS; i++) begin : g_cell
    (* bf_open_ends *)
    CCU2C #(
        .INIT0    (contents(2 * i)),
        .INIT1    (contents(2 * i + 1)),
        .INJECT1_0("NO"),
        .INJECT1_1("NO")
    ) chain (
        .CIN (carries[i]),
        .A0  (operands[2*i][0]),
        .B0  (operands[2*i][1]),
        .C0  (operands[2*i][2]),
        .D0  (operands[2*i][3]),
        .A1  (operands[2*i+1][0]),
        .B1  (operands[2*i+1][1]),
        .C1  (operands[2*i+1][2]),
        .D1  (operands[2*i+1][3]),
        .S0  (sums[2*i]),
        .S1  (sums[2*i+1]),
        .COUT(carries[i+1])
    );
  end
  assign y = sums[WIDTH:1];
`else
  // One adder: the carry comes from an additional lowest bit of both operands.
  logic [WIDTH-1:0] second;
  if (B_COUNTED == 0) begin : g_number
    assign second = WIDTH'(b);
  end else begin : g_bits
    logic [2:0] three;
    assign three  = 3'(b);
    assign second = WIDTH'({(three[0] & three[1]) | (three[0] & three[2]) | (three[1] & three[2]), ^three});
  end
  logic [WIDTH:0] sum;
  assign sum = {WIDTH'(a), 1'b1} + {second, carry};
  assign y   = sum[WIDTH:1];
`endif
endmodule
