// PE dot products of SIMD integer inputs with weights whose bits are used as signs: part + part_carry == w . x, or w .
// x - 1 where a weight has several PLANES. Initiation interval: 1 cycle. Latency from `inputs`: 1 cycle more than
// bf_sign_planes; `weights` come 1 cycle after `inputs`.
//
// Sums and differences of two inputs serve all outputs. A two's complement weight is
// 2 w = -s[n-1] 2^(n-1) + ... + s[1] 2 + s[0] - 1 with s = 2 bit - 1, so 2 y = (planes) - (sum of the inputs). ~sum
// stands for -sum; this yields 2 y - 1, and y - 1 after the halving.
`default_nettype none

module bf_weight_planes #(
    parameter  int PE               = 2,
    parameter  int SIMD             = 4,
    parameter  int IN_BITS          = 8,
    parameter  int IN_SIGNED        = 1,
    parameter  int W_BITS           = 1,
    parameter  int PLANES           = 1,  // W_BITS, 1 more for unsigned weights
    parameter  int PAIR_BITS        = 9,  // bits of a sum or difference
    parameter  int OFFSET_BITS      = 0,  // bits of the inputs' sum; 0: BIPOLAR
    parameter  int ADDERS_PER_STAGE = 2,  // as in bf_adder_tree
    localparam int PAIRS            = (SIMD + 1) / 2,
    localparam int TREE             = PAIR_BITS + $clog2(PAIRS),
    localparam int OUT              = OFFSET_BITS > 0 ? TREE + PLANES - 1 : TREE
) (
    input  wire logic                            clk,
    input  wire logic [        SIMD*IN_BITS-1:0] inputs,
    input  wire logic [PE-1:0][ SIMD*W_BITS-1:0] weights,
    output      logic [PE-1:0][         OUT-1:0] part,
    output      logic [PE-1:0]                   part_carry
);
  logic [2*PAIRS-1:0][PAIR_BITS-1:0] lane;
  logic [PAIRS-1:0][PAIR_BITS-1:0] sum, difference;
  for (genvar i = 0; i < 2 * PAIRS; i++) begin : g_lane
    if (i < SIMD) begin : g_input
      logic sign;
      assign sign    = IN_SIGNED != 0 && inputs[(i+1)*IN_BITS-1];
      assign lane[i] = PAIR_BITS'({{PAIR_BITS{sign}}, inputs[i*IN_BITS+:IN_BITS]});
    end else begin : g_none
      assign lane[i] = '0;
    end
  end
  for (genvar i = 0; i < PAIRS; i++) begin : g_pair
    always_ff @(posedge clk) begin
      sum[i]        <= lane[2*i] + lane[2*i+1];
      difference[i] <= lane[2*i] - lane[2*i+1];
    end
  end

  localparam int EXTRA = OFFSET_BITS > 0 ? OFFSET_BITS : 1;
  logic [EXTRA-1:0] extra;
  if (OFFSET_BITS > 0) begin : g_extra
    logic [EXTRA-1:0] all;
    logic no_carry;
    bf_adder_tree #(
        .COUNT (PAIRS),
        .WIDTH (PAIR_BITS),
        .SIGNED(1),
        .CARRY (0),
        .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
    ) input_sum (
        .clk,
        .operands (sum),
        .carry    ({PAIRS{1'b0}}),
        .sum      (all),
        .carry_out(no_carry)
    );
    assign extra = ~all;
  end else begin : g_no_extra
    assign extra = '0;
  end

  for (genvar p = 0; p < PE; p++) begin : g_pe
    logic [PLANES-1:0][2*PAIRS-1:0] negative;
    for (genvar b = 0; b < PLANES; b++) begin : g_plane
      for (genvar i = 0; i < 2 * PAIRS; i++) begin : g_sign
        if (i < SIMD && b < W_BITS) begin : g_bit
          localparam bit LESS = OFFSET_BITS > 0 && b == PLANES - 1;  // this plane's weight is negative
          assign negative[b][i] = weights[p][i*W_BITS+b] == LESS;
        end else begin : g_none
          assign negative[b][i] = 1'b0;
        end
      end
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
        .total      (part[p]),
        .carry      (part_carry[p])
    );
  end
endmodule
