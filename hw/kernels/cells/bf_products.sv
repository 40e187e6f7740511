// Dot product with multipliers: sum of a[i] * b[i], all two's complement. The synthesis tool maps `*`.
// Initiation interval: 1 cycle. Latency: 1 cycle for the products and that of a bf_adder_tree of COUNT operands.
`default_nettype none

module bf_products #(
    parameter  int COUNT            = 4,
    parameter  int A_BITS           = 8,
    parameter  int B_BITS           = 8,
    parameter  int ADDERS_PER_STAGE = 1,  // adders between two registers
    localparam int WIDTH            = A_BITS + B_BITS,
    localparam int OUT              = WIDTH + $clog2(COUNT)
) (
    input  wire logic                    clk,
    input  wire logic [COUNT*A_BITS-1:0] a,
    input  wire logic [COUNT*B_BITS-1:0] b,
    output      logic [         OUT-1:0] sum
);
  logic [COUNT-1:0][WIDTH-1:0] product;
  logic no_carry;
  for (genvar i = 0; i < COUNT; i++) begin : g_multiplier
    logic signed [A_BITS-1:0] x;
    logic signed [B_BITS-1:0] y;
    assign x = a[i*A_BITS+:A_BITS];
    assign y = b[i*B_BITS+:B_BITS];
    always_ff @(posedge clk) product[i] <= x * y;
  end

  bf_adder_tree #(
      .COUNT (COUNT),
      .WIDTH (WIDTH),
      .SIGNED(1),
      .CARRY (0),
      .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
  ) tree (
      .clk,
      .operands (product),
      .carry    ({COUNT{1'b0}}),
      .sum,
      .carry_out(no_carry)
  );
endmodule
