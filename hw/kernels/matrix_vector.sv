// Matrix-vector product with constant weights: MH = NF * PE dot products of MW = SF * SIMD inputs.
// A vector comes in SF beats of SIMD elements; outputs leave PE at a time. Initiation interval: NF * SF cycles a vector,
// the beats being taken in the first SF of them and one output beat started in each SF-th.
// Latency from the last beat's cycle to m_valid: OPERANDS + COMPUTE + 1 cycles, as derived below.
//
// One action a cycle: nothing after the firing ever stalls, `stream_out` keeps a place for every result.
`default_nettype none

module matrix_vector #(
    parameter int    PE         = 2,               // dot products at a time
    parameter int    SIMD       = 4,               // inputs at a time
    parameter int    SF         = 4,               // beats of an input vector
    parameter int    NF         = 4,               // beats of an output vector
    parameter int    IN_BITS    = 1,               // bits of an input
    parameter int    IN_SIGNED  = 1,
    parameter int    W_BITS     = 1,               // bits of a weight
    parameter int    W_SIGNED   = 1,
    parameter int    OUT_BITS   = 8,               // bits of an output; sums are right modulo 2^OUT_BITS
    parameter string DATAPATH   = "xnor",          // xnor: one bit by one bit; ternary: -1, 0, +1 by one bit;
                                                   // weight_planes, input_planes: the bits of one side add or subtract
                                                   // the other; multiply: multipliers
    parameter int    PLANES     = 1,               // weight_planes, input_planes: rows of signs
    parameter int    PAIR_BITS  = 2,               // and bits of the sum and the difference of two of the others
    parameter int    EXTRA_BITS = 0,               // and bits of what PLANES leave out (0: nothing)
    parameter int    START      = 0,               // what a dot product starts from
    parameter int    EVERY      = 2,               // adders in a row between two registers
    parameter string WEIGHTS    = "weights",       // NF * SF words of PE * LINE bits, the SF of one output beat together
    parameter string STYLE      = "logic",         // their memory, and its tiles, as in weight_memory
    parameter int    ROW        = 16,
    parameter int    BITS       = 8,
    parameter int    LAST_BITS  = 8,
    parameter string BUFFER     = "distributed",   // input buffer, as in replay
    parameter int    CREDITS    = 2                // places for output beats
) (
    input  wire logic                   clk,
    input  wire logic                   rst,
    input  wire logic                   s_valid,
    output      logic                   s_ready,
    input  wire logic [SIMD*IN_BITS-1:0] s_data,
    output      logic                   m_valid,
    input  wire logic                   m_ready,
    output      logic [PE*OUT_BITS-1:0] m_data
);
  localparam int PAIRS = (SIMD + 1) / 2;
  // Bits of a memory word for one output: weights, or the sums and differences of pairs of them and the extra term.
  localparam int LINE = DATAPATH == "input_planes" ? PAIRS * 2 * PAIR_BITS + EXTRA_BITS : SIMD * W_BITS;

  // Cycles from the firing until the inputs are there, and until inputs and weights are.
  localparam int FETCH = BUFFER == "hold" ? 1 : BUFFER == "block" ? 3 : 2;
  localparam int PAIRED = DATAPATH == "weight_planes" ? 1 : 0;
  localparam int RECALL = NF * SF > 2048 ? 3 : 2;
  localparam int OPERANDS = FETCH + PAIRED > RECALL ? FETCH + PAIRED : RECALL;
  // Cycles from there to the sum over SIMD.
  localparam bit COUNTING = DATAPATH == "xnor" || DATAPATH == "ternary";
  localparam int COUNT = COUNTING ? (SIMD + 3) / 4 : DATAPATH == "multiply" ? SIMD : PAIRS;
  localparam int TREE = $clog2(COUNT) > EVERY ? ($clog2(COUNT) + EVERY - 1) / EVERY : 1;
  localparam int CHAIN = COUNTING || DATAPATH == "multiply" ? 1 : EXTRA_BITS > 0 ? PLANES : 0;
  localparam int COMPUTE = TREE + CHAIN;

  if (!COUNTING && DATAPATH != "weight_planes" && DATAPATH != "input_planes" && DATAPATH != "multiply") begin : g_bad_datapath
    $error("matrix_vector: unknown DATAPATH");
  end
  if (BUFFER == "hold" && SF > 1 && NF > 1) begin : g_bad_buffer
    $error("matrix_vector: inputs that are used NF times need a buffer");
  end

  // Control: which action is next, and whether it can happen in this cycle.
  localparam int STEP = SF > 1 ? $clog2(SF) : 1;
  localparam int WORD = NF * SF > 1 ? $clog2(NF * SF) : 1;
  logic [STEP-1:0] step;
  logic [WORD-1:0] word;
  logic taking, last, credit, fire, take;
  assign last    = step == STEP'(SF - 1);
  assign s_ready = taking && (credit || !last);
  assign take    = s_valid && s_ready;
  assign fire    = (s_valid || !taking) && (credit || !last);
  always_ff @(posedge clk) begin
    if (rst) begin
      word   <= '0;
      taking <= 1'b1;
    end else if (fire) begin
      word <= word == WORD'(NF * SF - 1) ? '0 : word + WORD'(1);
      if (last) taking <= word == WORD'(NF * SF - 1);
    end
  end
  if (NF == 1) begin : g_one_pass
    assign step = word;
  end else begin : g_step
    always_ff @(posedge clk) begin
      if (rst) step <= '0;
      else if (fire) step <= last ? '0 : step + STEP'(1);
    end
  end

  // What is under way: an action, and whether it is the last of its dot products. Bit i: i + 1 cycles after the firing.
  localparam int LATENCY = OPERANDS + COMPUTE;
  logic [LATENCY-1:0] fired, ending;
  always_ff @(posedge clk) begin
    fired  <= rst ? '0 : LATENCY'({fired, fire});
    ending <= rst ? '0 : LATENCY'({ending, fire && last});
  end

  // Operands.
  logic [SIMD*IN_BITS-1:0] fetched, inputs;
  replay #(
      .WIDTH(SIMD * IN_BITS),
      .DEPTH(SF),
      .STYLE(BUFFER)
  ) buffer (
      .clk,
      .take,
      .index(step),
      .beat (s_data),
      .data (fetched)
  );
  delay #(
      .WIDTH (SIMD * IN_BITS),
      .CYCLES(OPERANDS - FETCH - PAIRED)
  ) wait_for_weights (
      .clk,
      .d(fetched),
      .q(inputs)
  );
  logic [WORD-1:0] word_q;
  logic [PE-1:0][LINE-1:0] weights;
  delay #(
      .WIDTH (WORD),
      .CYCLES(OPERANDS - RECALL)
  ) wait_for_inputs (
      .clk,
      .d(word),
      .q(word_q)
  );
  weight_memory #(
      .WIDTH    (PE * LINE),
      .DEPTH    (NF * SF),
      .STEM     (WEIGHTS),
      .STYLE    (STYLE),
      .ROW      (ROW),
      .BITS     (BITS),
      .LAST_BITS(LAST_BITS)
  ) weight_memory (
      .clk,
      .addr(word_q),
      .data(weights)
  );

  // The sum over SIMD: part + part_carry, for each output.
  localparam int PART = COUNTING ? 2 + $clog2(COUNT)
                      : DATAPATH == "multiply" ? IN_BITS + W_BITS + 2 - IN_SIGNED - W_SIGNED + $clog2(COUNT)
                      : EXTRA_BITS == 0 ? PAIR_BITS + $clog2(COUNT)
                      : (PAIR_BITS + $clog2(COUNT) > EXTRA_BITS ? PAIR_BITS + $clog2(COUNT) : EXTRA_BITS) + PLANES - 1;
  localparam int CARRY = DATAPATH == "multiply" || EXTRA_BITS > 0 ? 0 : 1;
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
      popcount #(
          .BITS (SIMD),
          .EVERY(EVERY)
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
      products #(
          .COUNT (SIMD),
          .A_BITS(A),
          .B_BITS(B),
          .EVERY (EVERY)
      ) dot (
          .clk,
          .a,
          .b,
          .sum(part[p])
      );
      assign part_carry[p] = 1'b0;
    end
  end else if (DATAPATH == "weight_planes") begin : g_weight_planes
    weight_planes #(
        .PE        (PE),
        .SIMD      (SIMD),
        .IN_BITS   (IN_BITS),
        .IN_SIGNED (IN_SIGNED),
        .W_BITS    (W_BITS),
        .PLANES    (PLANES),
        .PAIR_BITS (PAIR_BITS),
        .EXTRA_BITS(EXTRA_BITS),
        .EVERY     (EVERY)
    ) dots (
        .clk,
        .inputs,
        .weights,
        .part,
        .part_carry
    );
  end else begin : g_input_planes
    for (genvar p = 0; p < PE; p++) begin : g_pe
      input_planes #(
          .SIMD      (SIMD),
          .IN_BITS   (IN_BITS),
          .IN_SIGNED (IN_SIGNED),
          .PLANES    (PLANES),
          .PAIR_BITS (PAIR_BITS),
          .EXTRA_BITS(EXTRA_BITS),
          .EVERY     (EVERY)
      ) dot (
          .clk,
          .inputs,
          .row       (weights[p]),
          .part      (part[p]),
          .part_carry(part_carry[p])
      );
    end
  end

  // The sum over SF. Where agreements n are counted, the result is 2 n less the inputs that are not zero: for XNOR that is
  // MW, and START takes care of all but the lowest bit; for ternary inputs they are counted too, once for all outputs.
  localparam int SUM = COUNTING && OUT_BITS > 1 ? OUT_BITS - 1 : OUT_BITS;
  logic [OUT_BITS-1:0] nonzero;
  if (DATAPATH == "ternary") begin : g_nonzero
    logic [PART-1:0] count;
    logic [OUT_BITS-1:0] sum;
    logic carry, unused;
    popcount #(
        .BITS (SIMD),
        .EVERY(EVERY)
    ) nonzeros (
        .clk,
        .a      (g_counting.counted),
        .b      ('1),
        .counted('1),
        .count,
        .carry
    );
    assign {nonzero, unused} = {sum, carry} + {OUT_BITS'(count), carry};
    if (SF > 1) begin : g_register
      always_ff @(posedge clk) begin
        if (rst || ending[LATENCY-1]) sum <= '0;
        else if (fired[LATENCY-1]) sum <= nonzero;
      end
    end else begin : g_constant
      assign sum = '0;
    end
  end else begin : g_all
    assign nonzero = '0;
  end
  logic [PE*OUT_BITS-1:0] result;
  for (genvar p = 0; p < PE; p++) begin : g_accumulate
    logic [SUM-1:0] sum, addend, total;
    logic part_sign;
    assign part_sign = !COUNTING && part[p][PART-1];
    assign addend    = SUM'({{SUM{part_sign}}, part[p]});
    if (CARRY != 0) begin : g_carry
      logic unused;
      assign {total, unused} = {sum, part_carry[p]} + {addend, part_carry[p]};
    end else begin : g_no_carry
      assign total = sum + addend;
    end
    if (SF > 1) begin : g_register
      always_ff @(posedge clk) begin
        if (rst || ending[LATENCY-1]) sum <= SUM'(START);
        else if (fired[LATENCY-1]) sum <= total;
      end
    end else begin : g_constant
      assign sum = SUM'(START);
    end
    if (DATAPATH == "xnor") begin : g_twice
      assign result[p*OUT_BITS+:OUT_BITS] = OUT_BITS'({total, 1'((SF * SIMD) & 1)});
    end else if (DATAPATH == "ternary") begin : g_difference
      assign result[p*OUT_BITS+:OUT_BITS] = OUT_BITS'({total, 1'b0}) - nonzero;
    end else begin : g_once
      assign result[p*OUT_BITS+:OUT_BITS] = total;
    end
  end

  stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && last),
      .push (ending[LATENCY-1]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
