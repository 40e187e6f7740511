// Dot product of SIMD integer weights with inputs whose bits are used as signs: part + part_carry == w . x. `row` holds
// what depends on the weights only: for each pair of lanes the sum and the difference of the two weights; above them
// the offset, which is -(sum of the weights) for two's complement inputs and (2^IN_BITS - 1) times that sum for
// unsigned inputs. Initiation interval: 1 cycle. Latency: that of bf_sign_planes.
`default_nettype none

module bf_input_planes #(
    parameter  int SIMD             = 4,
    parameter  int IN_BITS          = 1,
    parameter  int IN_SIGNED        = 1,
    parameter  int PLANES           = 1,  // IN_BITS
    parameter  int PAIR_BITS        = 9,  // bits of a sum or difference
    parameter  int OFFSET_BITS      = 0,  // 0 if inputs are BIPOLAR
    parameter  int ADDERS_PER_STAGE = 2,  // as in bf_adder_tree
    parameter  int TREE_LATENCY     = 1,  // cycles of a bf_adder_tree of PAIRS operands
    localparam int PAIRS            = (SIMD + 1) / 2,
    localparam int ROW              = 2 * PAIRS * PAIR_BITS + OFFSET_BITS,
    localparam int TREE             = PAIR_BITS + $clog2(PAIRS),
    localparam int OUT              = OFFSET_BITS > 0 ? (TREE > OFFSET_BITS ? TREE : OFFSET_BITS) + PLANES - 1 : TREE
) (
    input  wire logic                    clk,
    input  wire logic [SIMD*IN_BITS-1:0] inputs,
    input  wire logic [         ROW-1:0] row,
    output      logic [         OUT-1:0] part,
    output      logic                    part_carry
);
  localparam int EXTRA = OFFSET_BITS > 0 ? OFFSET_BITS : 1;
  logic [PAIRS-1:0][PAIR_BITS-1:0] sum, difference;
  logic [PLANES-1:0][2*PAIRS-1:0] negative;
  logic [EXTRA-1:0] extra;

  for (genvar i = 0; i < PAIRS; i++) begin : g_pair
    assign {difference[i], sum[i]} = row[2*PAIR_BITS*i+:2*PAIR_BITS];
  end
  for (genvar b = 0; b < PLANES; b++) begin : g_plane
    localparam bit LESS = OFFSET_BITS > 0 && IN_SIGNED != 0 && b == PLANES - 1;  // this plane's weight is negative
    for (genvar i = 0; i < 2 * PAIRS; i++) begin : g_sign
      if (i < SIMD) begin : g_bit
        assign negative[b][i] = inputs[i*IN_BITS+b] == LESS;
      end else begin : g_none
        assign negative[b][i] = 1'b0;
      end
    end
  end
  if (OFFSET_BITS > 0) begin : g_extra
    bf_delay #(
        .WIDTH (OFFSET_BITS),
        .CYCLES(TREE_LATENCY)
    ) wait_for_tree (
        .clk,
        .d(row[ROW-1-:EXTRA]),
        .q(extra)
    );
  end else begin : g_no_extra
    assign extra = '0;
  end

  bf_sign_planes #(
      .PAIRS     (PAIRS),
      .WIDTH     (PAIR_BITS),
      .PLANES    (PLANES),
      .OFFSET_BITS(OFFSET_BITS),
      .ADDERS_PER_STAGE     (ADDERS_PER_STAGE)
  ) dot (
      .clk,
      .sums       (sum),
      .differences(difference),
      .negative,
      .extra,
      .total      (part),
      .carry      (part_carry)
  );
endmodule
