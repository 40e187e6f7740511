// Dot products of SIMD inputs with PE rows of weights, and their sums over SF beats. `result` is the running sum up to
// the operands of C cycles ago, where C = LATENCY - 1 - OPERAND_LATENCY of bf_matrix_vector; `add` stores it, `ending`
// resets the accumulators. Initiation interval: 1 cycle. With DATAPATH "weight_planes" the inputs come one cycle before
// the weights.
`default_nettype none

module bf_dot_products #(
    parameter  int           PE               = 2,
    parameter  int           SIMD             = 4,
    parameter  int           SF               = 4,  // dot products of a sum
    parameter  int           IN_BITS          = 1,  // this and what follows: as in bf_matrix_vector
    parameter  int           IN_SIGNED        = 1,
    parameter  int           W_BITS           = 1,
    parameter  int           W_SIGNED         = 1,
    parameter  int           OUT_BITS         = 8,
    parameter  logic [127:0] DATAPATH         = "xnor",
    parameter  int           PLANES           = 1,
    parameter  int           PAIR_BITS        = 2,
    parameter  int           OFFSET_BITS      = 0,
    parameter  int           ACC_INIT         = 0,
    parameter  int           ACC_INCREMENT    = 0,  // 1: each dot product counts one more; OFFSET_BITS > 0
    parameter  int           ADDERS_PER_STAGE = 2,
    parameter  int           TREE_LATENCY     = 1,
    localparam int           PAIRS            = (SIMD + 1) / 2,
    localparam int           ROW              = DATAPATH != "input_planes" ? SIMD * W_BITS
                                                : PAIRS * 2 * PAIR_BITS + OFFSET_BITS
) (
    input  wire logic                    clk,
    input  wire logic                    rst,
    input  wire logic [SIMD*IN_BITS-1:0] inputs,
    input  wire logic [PE-1:0][ROW-1:0]  weights,
    input  wire logic                    add,
    input  wire logic                    ending,
    output      logic [PE*OUT_BITS-1:0]  result
);
  localparam bit COUNTING = DATAPATH == "xnor" || DATAPATH == "ternary";
  localparam int COUNT = COUNTING ? (SIMD + 3) / 4 : DATAPATH == "multiply" ? SIMD : PAIRS;

  if (SF == 1) begin : g_nothing_kept
    logic unused;
    assign unused = &{rst, add, ending};
  end

  // The sum over SIMD: part + part_carry, for each output.
  localparam int PART = COUNTING ? 2 + $clog2(COUNT)
                      : DATAPATH == "multiply" ? IN_BITS + W_BITS + 2 - IN_SIGNED - W_SIGNED + $clog2(COUNT)
                      : OFFSET_BITS == 0 ? PAIR_BITS + $clog2(COUNT)
                      : PAIR_BITS + $clog2(COUNT) > OFFSET_BITS ? PAIR_BITS + $clog2(COUNT) + PLANES - 1
                      : OFFSET_BITS + PLANES - 1;
  localparam int CARRY = ACC_INCREMENT != 0 || (DATAPATH != "multiply" && OFFSET_BITS == 0) ? 1 : 0;
  logic [PE-1:0][PART-1:0] part;
  logic [PE-1:0] part_carry;

  if (COUNTING) begin : g_counting
    // A ternary input is {negative, not zero}.
    logic [SIMD-1:0] positive, counted;
    for (genvar i = 0; i < SIMD; i++) begin : g_input
      assign positive[i] = DATAPATH == "xnor" ? inputs[i*IN_BITS] : !inputs[(i+1)*IN_BITS-1];
      assign counted[i]  = DATAPATH == "xnor" || inputs[i*IN_BITS];
    end
    for (genvar p = 0; p < PE; p++) begin : g_pe
      bf_popcount #(
          .BITS (SIMD),
          .ADDERS_PER_STAGE(ADDERS_PER_STAGE)
      ) dot (
          .clk,
          .a    (positive),
          .b    (weights[p]),
          .counted,
          .count(part[p]),
          .carry(part_carry[p])
      );
    end
  end else if (DATAPATH == "multiply") begin : g_multiply
    localparam int A = IN_BITS + 1 - IN_SIGNED;
    localparam int B = W_BITS + 1 - W_SIGNED;
    logic [SIMD-1:0][A-1:0] a;
    for (genvar i = 0; i < SIMD; i++) begin : g_input
      assign a[i] = A'({IN_SIGNED == 0 ? 1'b0 : inputs[(i+1)*IN_BITS-1], inputs[i*IN_BITS+:IN_BITS]});
    end
    for (genvar p = 0; p < PE; p++) begin : g_pe
      logic [SIMD-1:0][B-1:0] b;
      for (genvar i = 0; i < SIMD; i++) begin : g_weight
        assign b[i] = B'({W_SIGNED == 0 ? 1'b0 : weights[p][(i+1)*W_BITS-1], weights[p][i*W_BITS+:W_BITS]});
      end
      bf_products #(
          .COUNT (SIMD),
          .A_BITS(A),
          .B_BITS(B),
          .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
      ) dot (
          .clk,
          .a,
          .b,
          .sum(part[p])
      );
      assign part_carry[p] = 1'b0;
    end
  end else if (DATAPATH == "weight_planes") begin : g_weight_planes
    bf_weight_planes #(
        .PE        (PE),
        .SIMD      (SIMD),
        .IN_BITS   (IN_BITS),
        .IN_SIGNED (IN_SIGNED),
        .W_BITS    (W_BITS),
        .PLANES    (PLANES),
        .PAIR_BITS (PAIR_BITS),
        .OFFSET_BITS(OFFSET_BITS),
        .ADDERS_PER_STAGE     (ADDERS_PER_STAGE)
    ) dots (
        .clk,
        .inputs,
        .weights,
        .part,
        .part_carry
    );
  end else begin : g_input_planes
    for (genvar p = 0; p < PE; p++) begin : g_pe
      bf_input_planes #(
          .SIMD      (SIMD),
          .IN_BITS   (IN_BITS),
          .IN_SIGNED (IN_SIGNED),
          .PLANES    (PLANES),
          .PAIR_BITS (PAIR_BITS),
          .OFFSET_BITS(OFFSET_BITS),
          .ADDERS_PER_STAGE     (ADDERS_PER_STAGE),
          .TREE_LATENCY(TREE_LATENCY)
      ) dot (
          .clk,
          .inputs,
          .row       (weights[p]),
          .part      (part[p]),
          .part_carry(part_carry[p])
      );
    end
  end

  // The sum over SF. Where agreements n are counted, the result is 2 n minus the number of nonzero inputs. For XNOR it
  // is MW; ACC_INIT holds all of it but the lowest bit. For ternary inputs it is counted, once for all outputs.
  localparam int SUM = COUNTING && OUT_BITS > 1 ? OUT_BITS - 1 : OUT_BITS;
  logic [OUT_BITS-1:0] nonzero;
  if (DATAPATH == "ternary") begin : g_nonzero
    logic [PART-1:0] count;
    logic [OUT_BITS-1:0] sum;
    logic carry, unused;
    bf_popcount #(
        .BITS (SIMD),
        .ADDERS_PER_STAGE(ADDERS_PER_STAGE)
    ) nonzeros (
        .clk,
        .a      (g_counting.counted),
        .b      ({SIMD{1'b1}}),
        .counted({SIMD{1'b1}}),
        .count,
        .carry
    );
    assign {nonzero, unused} = {sum, carry} + {OUT_BITS'(count), carry};
    if (SF > 1) begin : g_register
      always_ff @(posedge clk) begin
        if (rst || ending) sum <= '0;
        else if (add) sum <= nonzero;
      end
    end else begin : g_constant
      assign sum = '0;
    end
  end else begin : g_all
    assign nonzero = '0;
  end
  for (genvar p = 0; p < PE; p++) begin : g_accumulate
    logic [SUM-1:0] sum, addend, total;
    logic part_sign;
    assign part_sign = !COUNTING && part[p][PART-1];
    assign addend    = SUM'({{SUM{part_sign}}, part[p]});
    if (CARRY != 0) begin : g_carry
      logic carry, unused;
      assign carry           = ACC_INCREMENT != 0 || part_carry[p];
      assign {total, unused} = {sum, carry} + {addend, carry};
    end else begin : g_no_carry
      assign total = sum + addend;
    end
    if (SF > 1) begin : g_register
      always_ff @(posedge clk) begin
        if (rst || ending) sum <= SUM'(ACC_INIT);
        else if (add) sum <= total;
      end
    end else begin : g_constant
      assign sum = SUM'(ACC_INIT);
    end
    if (DATAPATH == "xnor") begin : g_twice
      assign result[p*OUT_BITS+:OUT_BITS] = OUT_BITS'({total, 1'((SF * SIMD) & 1)});
    end else if (DATAPATH == "ternary") begin : g_difference
      assign result[p*OUT_BITS+:OUT_BITS] = OUT_BITS'({total, 1'b0}) - nonzero;
    end else begin : g_once
      assign result[p*OUT_BITS+:OUT_BITS] = total;
    end
  end
endmodule
