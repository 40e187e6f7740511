// Matrix-vector product with constant weights: MH = NF * PE dot products of MW = SF * SIMD inputs. A vector arrives in
// SF beats of SIMD elements; outputs leave PE at a time. Where SF and NF are 1, a beat may hold the vectors of PIXELS
// pixels. Initiation interval: NF * SF cycles per vector; beats are taken in the first SF of them, and an output beat
// is started in each SF-th. Latency: LATENCY cycles from the last beat of a vector to m_valid.
//
// At most one firing per cycle. Nothing stalls after the firing: bf_stream_out has an entry for every result.
`default_nettype none

module bf_matrix_vector #(
    parameter int           PE               = 2,              // dot products at a time
    parameter int           SIMD             = 4,              // inputs at a time
    parameter int           PIXELS           = 1,              // vectors at a time; 1 where SF or NF is more than 1
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
    parameter               WEIGHTS          = "weights",      // stem of the files: NF * SF words of PE * LINE bits
    parameter logic [127:0] STYLE            = "logic",        // memory and tiles as in bf_weight_memory
    parameter int           ROW              = 16,
    parameter int           BITS             = 8,
    parameter int           LAST_BITS        = 8,
    parameter int           PARITY           = 0,              // 1: a parity bit above the weights
    // Tied weights, as in bf_tied_memory; WEIGHTS are the words of the table then.
    parameter int           TABLE_BITS       = 0,              // 0: the weights are in the words as they are
    parameter int           TABLE_WORDS      = 1,
    parameter               SOURCES          = 32'd0,          // for each bit of PE * LINE, 32 bits
    parameter               INDEX            = "index",
    parameter int           TABLE_PARITY     = 0,
    parameter logic [127:0] INDEX_STYLE      = "logic",
    parameter int           INDEX_ROW        = 16,
    parameter int           INDEX_BITS       = 1,
    parameter int           INDEX_LAST_BITS  = 1,
    parameter int           INDEX_PARITY     = 0,
    parameter int           LOOP_WORDS       = 0,
    parameter int           LOOP_FIRST       = 1,
    parameter int           LOOP_INNER       = 1,
    parameter int           LOOP_LAST        = 1,
    parameter               LOOP_PLAN        = 64'd0,
    parameter int           TURNS            = 1,
    parameter int           TURNED           = 1,
    parameter               TURN_SOURCES     = 32'd0,
    parameter int           CODE_BITS        = 0,
    parameter               CODES            = 32'd0,
    parameter logic [127:0] BUFFER           = "distributed",  // input buffer, as in bf_replay
    parameter int           CREDITS          = 2               // entries of the output buffer
) (
    input  wire logic                           clk,
    input  wire logic                           rst,
    input  wire logic                           s_valid,
    output      logic                           s_ready,
    input  wire logic [PIXELS*SIMD*IN_BITS-1:0] s_data,
    output      logic                           m_valid,
    input  wire logic                           m_ready,
    output      logic [ PIXELS*PE*OUT_BITS-1:0] m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                           parity_error
);
  localparam int PAIRS = (SIMD + 1) / 2;
  // Bits of a memory word for one output: weights, or the sums and differences of pairs of them and the extra term.
  localparam int LINE = DATAPATH == "input_planes" ? PAIRS * 2 * PAIR_BITS + OFFSET_BITS : SIMD * W_BITS;

  localparam int DEPTH = LATENCY - 1;  // cycles from the firing to the sum
  localparam int PAIRED = DATAPATH == "weight_planes" ? 1 : 0;  // cycles from the inputs to the weights

`ifndef __ICARUS__
  if (DATAPATH != "xnor" && DATAPATH != "ternary" && DATAPATH != "weight_planes" && DATAPATH != "input_planes" &&
      DATAPATH != "multiply") begin : g_bad_datapath
    $error("bf_matrix_vector: unknown DATAPATH");
  end
`endif
`ifndef __ICARUS__
  if (BUFFER == "hold" && SF > 1 && NF > 1) begin : g_bad_buffer
    $error("bf_matrix_vector: inputs that are used NF times need a buffer");
  end
`endif
`ifndef __ICARUS__
  if (PIXELS > 1 && NF * SF > 1) begin : g_bad_pixels
    $error("bf_matrix_vector: several vectors at a time must each be one beat");
  end
`endif

  // Control: the next firing, and whether it can happen in this cycle.
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

  // In the pipeline: a firing, and whether it is the last of its dot products. Bit i: i + 1 cycles after the firing.
  logic [DEPTH-1:0] fired, ending;
  always_ff @(posedge clk) begin
    fired  <= rst ? '0 : DEPTH'({fired, fire});
    ending <= rst ? '0 : DEPTH'({ending, fire && last});
  end

  // Operands.
  logic [PIXELS*SIMD*IN_BITS-1:0] fetched, inputs;
  bf_replay #(
      .WIDTH(PIXELS * SIMD * IN_BITS),
      .DEPTH(SF),
      .STYLE(BUFFER)
  ) buffer (
      .clk,
      .take,
      .index(step),
      .beat (s_data),
      .data (fetched)
  );
  bf_delay #(
      .WIDTH (PIXELS * SIMD * IN_BITS),
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
  if (TABLE_BITS == 0) begin : g_weights
    logic [PE*LINE+PARITY-1:0] stored;
    bf_weight_memory #(
        .WIDTH    (PE * LINE + PARITY),
        .DEPTH    (NF * SF),
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
  end else begin : g_tied_weights
    localparam int WAIT = OPERAND_LATENCY - WEIGHT_LATENCY;
    localparam int AFTER = (TURNS > 1 ? 1 : 0) + (CODE_BITS > 0 ? 1 : 0);  // cycles behind the table
    logic [DEPTH:0] since;  // bit i: i cycles after a firing
    assign since = {fired, fire};
    bf_tied_memory #(
        .WIDTH          (PE * LINE),
        .DEPTH          (NF * SF),
        .LATENCY        (WEIGHT_LATENCY),
        .TABLE_BITS     (TABLE_BITS),
        .TABLE_WORDS    (TABLE_WORDS),
        .SOURCES        (SOURCES),
        .TABLE          (WEIGHTS),
        .INDEX          (INDEX),
        .STYLE          (STYLE),
        .ROW            (ROW),
        .BITS           (BITS),
        .LAST_BITS      (LAST_BITS),
        .TABLE_PARITY   (TABLE_PARITY),
        .INDEX_STYLE    (INDEX_STYLE),
        .INDEX_ROW      (INDEX_ROW),
        .INDEX_BITS     (INDEX_BITS),
        .INDEX_LAST_BITS(INDEX_LAST_BITS),
        .INDEX_PARITY   (INDEX_PARITY),
        .LOOP_WORDS     (LOOP_WORDS),
        .LOOP_FIRST     (LOOP_FIRST),
        .LOOP_INNER     (LOOP_INNER),
        .LOOP_LAST      (LOOP_LAST),
        .LOOP_PLAN      (LOOP_PLAN),
        .TURNS          (TURNS),
        .TURNED         (TURNED),
        .TURN_SOURCES   (TURN_SOURCES),
        .CODE_BITS      (CODE_BITS),
        .W_BITS         (W_BITS),
        .CODES          (CODES)
    ) weight_memory (
        .clk,
        .rst,
        .addr(word_q),
        .step(since[WAIT]),
        .used(since[OPERAND_LATENCY-AFTER]),
        .data(weights),
        .parity_error
    );
  end

  logic [PIXELS-1:0][PE*OUT_BITS-1:0] result;
  for (genvar i = 0; i < PIXELS; i++) begin : g_pixel
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
        .inputs(inputs[i*SIMD*IN_BITS+:SIMD*IN_BITS]),
        .weights,
        .add   (fired[DEPTH-1]),
        .ending(ending[DEPTH-1]),
        .result(result[i])
    );
  end

  bf_stream_out #(
      .WIDTH  (PIXELS * PE * OUT_BITS),
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
