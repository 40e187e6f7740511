// XNOR-popcount: number of bits marked by `counted` in which two BITS-bit words agree, count + carry.
// Initiation interval: 1 cycle. Latency: 1 cycle more than a bf_adder_tree of ceil(BITS / 4) operands.
//
// Of each four agreement bits, three go to a full adder, whose two output bits are an operand of the tree; the fourth
// is the carry bit of that operand.
`default_nettype none

module bf_popcount #(
    parameter  int BITS             = 16,
    parameter  int ADDERS_PER_STAGE = 2,  // adders between two registers
    localparam int COUNT            = (BITS + 3) / 4,
    localparam int OUT              = 2 + $clog2(COUNT)
) (
    input  wire logic            clk,
    input  wire logic [BITS-1:0] a,
    input  wire logic [BITS-1:0] b,
    input  wire logic [BITS-1:0] counted,
    output      logic [ OUT-1:0] count,
    output      logic            carry
);
  logic [COUNT-1:0][3:0] same;
  logic [COUNT-1:0][1:0] triple;
  logic [COUNT-1:0] fourth;

  logic [BITS-1:0] agree;
  assign agree = ~(a ^ b) & counted;
  assign same  = (4 * COUNT)'(agree);
  for (genvar i = 0; i < COUNT; i++) begin : g_full_adder
    logic half;
    assign half = same[i][0] ^ same[i][1];
    always_ff @(posedge clk) begin
      triple[i] <= {half ? same[i][2] : same[i][0], half ^ same[i][2]};
      fourth[i] <= same[i][3];
    end
  end

  bf_adder_tree #(
      .COUNT(COUNT),
      .WIDTH(2),
      .ADDERS_PER_STAGE(ADDERS_PER_STAGE)
  ) tree (
      .clk,
      .operands (triple),
      .carry    (fourth),
      .sum      (count),
      .carry_out(carry)
  );
endmodule
