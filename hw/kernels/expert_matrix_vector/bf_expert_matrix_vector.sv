// Matrix-vector product with one of EXPERTS constant matrices of NF * PE by SF * SIMD weights. For each frame a beat says
// which one, then the vector arrives in SF beats of SIMD elements; outputs leave PE at a time. Initiation interval:
// 1 + NF * SF cycles per frame: the choice, then the firings, of which the first SF take a beat and each SF-th starts an
// output beat. Latency: LATENCY cycles from the last beat of the vector to m_valid.
//
// At most one firing per cycle. Nothing stalls after the firing: bf_stream_out has an entry for every result.
`default_nettype none

module bf_expert_matrix_vector #(
    parameter int           EXPERTS          = 2,              // sets of weights; a choice of more is the last one
    parameter int           CHOICE_BITS      = 1,              // bits of a choice
    parameter int           PE               = 2,              // dot products at a time
    parameter int           SIMD             = 4,              // inputs at a time
    parameter int           SF               = 4,              // beats of an input vector
    parameter int           NF               = 4,              // beats of an output vector
    parameter int           IN_BITS          = 1,              // bits of an input
    parameter int           IN_SIGNED        = 1,
    parameter int           W_BITS           = 1,              // bits of a weight
    parameter int           W_SIGNED         = 1,
    parameter int           OUT_BITS         = 8,              // bits of an output; sums are right modulo 2^OUT_BITS
    // xnor: one bit by one bit; ternary: -1, 0, +1 by one bit; weight_planes, input_planes: the bits of one side add or
    // subtract the other; multiply: multipliers
    parameter logic [127:0] DATAPATH         = "xnor",
    parameter int           PLANES           = 1,              // weight_planes, input_planes: rows of signs
    parameter int           PAIR_BITS        = 2,              // bits of a sum or difference of two others
    parameter int           OFFSET_BITS      = 0,              // bits of the offset that PLANES leave out; 0: none
    parameter int           ACC_INIT         = 0,              // initial value of the accumulators
    parameter int           ADDERS_PER_STAGE = 2,              // adders between two registers
    parameter int           INPUT_LATENCY    = 2,              // cycles until the inputs are read (bf_replay)
    parameter int           WEIGHT_LATENCY   = 2,              // cycles until the weights are read
    parameter int           OPERAND_LATENCY  = 2,              // cycles until both are aligned
    parameter int           TREE_LATENCY     = 1,              // cycles of an adder tree
    parameter int           LATENCY          = 5,              // cycles from the last beat of a vector to m_valid
    parameter               WEIGHTS          = "weights",      // stem of the files: EXPERTS * NF * SF words of PE * LINE
    parameter logic [127:0] STYLE            = "logic",        // memory and tiles as in bf_weight_memory
    parameter int           ROW              = 16,
    parameter int           BITS             = 8,
    parameter int           LAST_BITS        = 8,
    parameter int           PARITY           = 0,              // 1: a parity bit above the weights
    parameter logic [127:0] BUFFER           = "distributed",  // input buffer, as in bf_replay
    parameter int           CREDITS          = 2               // entries of the output buffer
) (
    input  wire logic                                clk,
    input  wire logic                                rst,
    input  wire logic [                         1:0] s_valid,
    output      logic [                         1:0] s_ready,
    input  wire logic [CHOICE_BITS+SIMD*IN_BITS-1:0] s_data,  // the choice in the low bits
    output      logic                                m_valid,
    input  wire logic                                m_ready,
    output      logic [             PE*OUT_BITS-1:0] m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                                parity_error
);
  localparam int PAIRS = (SIMD + 1) / 2;
  // Bits of a memory word for one output: weights, or the sums and differences of pairs of them and the extra term.
  localparam int LINE = DATAPATH == "input_planes" ? PAIRS * 2 * PAIR_BITS + OFFSET_BITS : SIMD * W_BITS;

  localparam int DEPTH = LATENCY - 1;  // cycles from the firing to the sum
  localparam int PAIRED = DATAPATH == "weight_planes" ? 1 : 0;  // cycles from the inputs to the weights

`ifndef __ICARUS__
  if (DATAPATH != "xnor" && DATAPATH != "ternary" && DATAPATH != "weight_planes" && DATAPATH != "input_planes" &&
      DATAPATH != "multiply") begin : g_bad_datapath
    $error("bf_expert_matrix_vector: unknown DATAPATH");
  end
`endif
`ifndef __ICARUS__
  if (BUFFER == "hold" && SF > 1 && NF > 1) begin : g_bad_buffer
    $error("bf_expert_matrix_vector: inputs that are used NF times need a buffer");
  end
`endif
  // Control: whether the choice of the frame is here, the next firing, and whether it can happen in this cycle.
  localparam int WORDS = NF * SF;
  localparam int STEP = SF > 1 ? $clog2(SF) : 1;
  localparam int COUNT = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam int WORD = $clog2(EXPERTS * WORDS);
  logic [STEP-1:0] step;
  logic [COUNT-1:0] left;  // words of the vector after this one
  logic [WORD-1:0] word;
  logic known, taking, last, credit, fire, take;
  logic [CHOICE_BITS-1:0] choice;
  assign choice  = int'(s_data[CHOICE_BITS-1:0]) < EXPERTS ? s_data[CHOICE_BITS-1:0] : CHOICE_BITS'(EXPERTS - 1);
  assign last    = step == STEP'(SF - 1);
  assign s_ready = {known && taking && (credit || !last), !known};
  assign take    = s_valid[1] && s_ready[1];
  assign fire    = known && (s_valid[1] || !taking) && (credit || !last);
  always_ff @(posedge clk) begin
    if (rst) begin
      known  <= 1'b0;
      taking <= 1'b1;
      step   <= '0;
    end else if (!known) begin
      known  <= s_valid[0];
      taking <= 1'b1;
    end else if (fire) begin
      known <= left != '0;
      step  <= last ? '0 : step + STEP'(1);
      if (last) taking <= 1'b0;
    end
    if (!known) begin
      left <= COUNT'(WORDS - 1);
      word <= WORD'(int'(choice) * WORDS);
    end else if (fire) begin
      left <= left - COUNT'(1);
      word <= word + WORD'(1);
    end
  end

  // In the pipeline: a firing, and whether it is the last of its dot products. Bit i: i + 1 cycles after the firing.
  logic [DEPTH-1:0] fired, ending;
  always_ff @(posedge clk) begin
    fired  <= rst ? '0 : DEPTH'({fired, fire});
    ending <= rst ? '0 : DEPTH'({ending, fire && last});
  end

  // Operands.
  logic [SIMD*IN_BITS-1:0] fetched, inputs;
  bf_replay #(
      .WIDTH(SIMD * IN_BITS),
      .DEPTH(SF),
      .STYLE(BUFFER)
  ) buffer (
      .clk,
      .take,
      .index(step),
      .beat (s_data[CHOICE_BITS+:SIMD*IN_BITS]),
      .data (fetched)
  );
  bf_delay #(
      .WIDTH (SIMD * IN_BITS),
      .CYCLES(OPERAND_LATENCY - INPUT_LATENCY - PAIRED)
  ) wait_for_weights (
      .clk,
      .d(fetched),
      .q(inputs)
  );
  logic [WORD-1:0] word_q;
  logic [PE-1:0][LINE-1:0] weights;
  bf_delay #(
      .WIDTH (WORD),
      .CYCLES(OPERAND_LATENCY - WEIGHT_LATENCY)
  ) wait_for_inputs (
      .clk,
      .d(word),
      .q(word_q)
  );
  logic [PE*LINE+PARITY-1:0] stored;
  bf_weight_memory #(
      .WIDTH    (PE * LINE + PARITY),
      .DEPTH    (EXPERTS * WORDS),
      .LATENCY  (WEIGHT_LATENCY),
      .STEM     (WEIGHTS),
      .STYLE    (STYLE),
      .ROW      (ROW),
      .BITS     (BITS),
      .LAST_BITS(LAST_BITS)
  ) weight_memory (
      .clk,
      .addr(word_q),
      .data(stored)
  );
  assign weights = stored[PE*LINE-1:0];
  if (PARITY != 0) begin : g_parity
    bf_parity #(
        .WIDTH(PE * LINE + 1)
    ) check (
        .clk,
        .rst,
        .used(fired[OPERAND_LATENCY-1]),
        .word(stored),
        .parity_error
    );
  end else begin : g_no_parity
    assign parity_error = 1'b0;
  end

  logic [PE*OUT_BITS-1:0] result;
  bf_dot_products #(
      .PE        (PE),
      .SIMD      (SIMD),
      .SF        (SF),
      .IN_BITS   (IN_BITS),
      .IN_SIGNED (IN_SIGNED),
      .W_BITS    (W_BITS),
      .W_SIGNED  (W_SIGNED),
      .OUT_BITS  (OUT_BITS),
      .DATAPATH  (DATAPATH),
      .PLANES    (PLANES),
      .PAIR_BITS (PAIR_BITS),
      .OFFSET_BITS(OFFSET_BITS),
      .ACC_INIT     (ACC_INIT),
      .ADDERS_PER_STAGE     (ADDERS_PER_STAGE),
      .TREE_LATENCY(TREE_LATENCY)
  ) dots (
      .clk,
      .rst,
      .inputs,
      .weights,
      .add   (fired[DEPTH-1]),
      .ending(ending[DEPTH-1]),
      .result
  );

  bf_stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && last),
      .push (ending[DEPTH-1]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
