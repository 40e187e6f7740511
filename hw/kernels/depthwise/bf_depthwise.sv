// Depthwise convolution of windows: the dot product of K inputs with constant weights, for each of STEPS * PE channels.
// A window arrives as K * STEPS beats, pixel by pixel; results leave with its last pixel. A beat may hold ELEMENTS
// pixels of each of WINDOWS adjacent windows.
// Initiation interval: 1 beat per cycle. Latency: LATENCY cycles from a channel's last beat to m_valid.
`default_nettype none

module bf_depthwise #(
    parameter  int           PE               = 2,           // channels a beat
    parameter  int           ELEMENTS         = 1,           // pixels of each window, whose products are added
    parameter  int           WINDOWS          = 1,           // windows of a beat
    parameter  int           STEPS            = 4,           // beats of a pixel
    parameter  int           K                = 9,           // beats of a channel in a window
    parameter  int           IN_BITS          = 8,           // bits of an input's code
    parameter  int           W_BITS           = 1,           // bits of a weight's code
    parameter  logic [127:0] SERIAL_OPERAND   = "weight",    // which is `a` of bf_product: "weight" or "input"
    parameter  logic [127:0] A_KIND           = "bipolar",   // its codes, as in bf_product
    parameter  int           PLANES           = 1,           // its digits; 0: multipliers
    parameter  logic [127:0] B_KIND           = "unsigned",  // codes of the other operand, as in bf_widen
    parameter  int           B_BITS           = 9,           // its bits in two's complement
    parameter  int           OUT_BITS         = 13,          // bits of a result; sums are right modulo 2^OUT_BITS
    parameter  int           ADDERS_PER_STAGE = 2,           // adders between two registers
    parameter  int           WEIGHT_LATENCY   = 2,           // cycles until the weights are read
    parameter  int           PRODUCT_LATENCY  = 3,           // cycles until the sums over ELEMENTS
    parameter  int           LATENCY          = 5,           // cycles from a channel's last beat to m_valid
    parameter                WEIGHTS          = "weights",   // stem of the files: K * STEPS words
    parameter  logic [127:0] STYLE            = "logic",     // memory and tiles as in bf_weight_memory
    parameter  int           ROW              = 16,
    parameter  int           BITS             = 8,
    parameter  int           LAST_BITS        = 8,
    parameter  int           PARITY           = 0,           // 1: a parity bit above the weights
    parameter  logic [127:0] SUM_STYLE        = "shift",     // accumulators, as in bf_interleaved_accumulator
    parameter  int           CREDITS          = 4,           // entries of the output buffer
    localparam int           LANES            = WINDOWS * ELEMENTS * PE
) (
    input  wire logic                          clk,
    input  wire logic                          rst,
    input  wire logic                          s_valid,
    output      logic                          s_ready,
    input  wire logic [LANES-1:0][IN_BITS-1:0] s_data,
    output      logic                          m_valid,
    input  wire logic                          m_ready,
    output      logic [ WINDOWS*PE*OUT_BITS-1:0] m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                          parity_error
);
  localparam int A_BITS = SERIAL_OPERAND == "weight" ? W_BITS : IN_BITS;
  localparam int OTHER_BITS = SERIAL_OPERAND == "weight" ? IN_BITS : W_BITS;
  localparam int DEPTH = LATENCY - 1;  // cycles from the firing to the sum

  // Control: which word of weights is next, and whether its beat can be taken in this cycle.
  localparam int WORD = K * STEPS > 1 ? $clog2(K * STEPS) : 1;
  logic [WORD-1:0] word;
  logic credit, fire, first, last, ends;
  assign s_ready = credit || !last;
  assign fire    = s_valid && s_ready;
  assign ends    = word == WORD'(K * STEPS - 1);
  if (K * STEPS == 1) begin : g_one_word
    assign word = '0;
  end else begin : g_words
    always_ff @(posedge clk) begin
      if (rst) word <= '0;
      else if (fire) word <= ends ? '0 : word + WORD'(1);
    end
  end
  if (K == 1) begin : g_one_position
    assign {first, last} = 2'b11;
  end else begin : g_positions
    always_ff @(posedge clk) begin
      if (rst) {first, last} <= 2'b10;
      else if (fire) begin
        first <= ends || (first && word != WORD'(STEPS - 1));
        last  <= !ends && (last || word == WORD'((K - 1) * STEPS - 1));
      end
    end
  end

  // In the pipeline. Bit i: i + 1 cycles after the firing.
  logic [PRODUCT_LATENCY-1:0] fired, starts;
  logic [DEPTH-1:0] ending;
  always_ff @(posedge clk) begin
    fired  <= rst ? '0 : PRODUCT_LATENCY'({fired, fire});
    starts <= PRODUCT_LATENCY'({starts, first});
    ending <= rst ? '0 : DEPTH'({ending, fire && last});
  end

  // Operands.
  logic [LANES-1:0][IN_BITS-1:0] inputs;
  logic [ELEMENTS*PE*W_BITS+PARITY-1:0] stored;
  logic [ELEMENTS*PE-1:0][W_BITS-1:0] weights;
  logic [LANES-1:0][A_BITS-1:0] a;
  logic [LANES-1:0][OTHER_BITS-1:0] other;
  logic [LANES-1:0][B_BITS-1:0] b;
  bf_delay #(
      .WIDTH (LANES * IN_BITS),
      .CYCLES(WEIGHT_LATENCY)
  ) wait_for_weights (
      .clk,
      .d(s_data),
      .q(inputs)
  );
  bf_weight_memory #(
      .WIDTH    (ELEMENTS * PE * W_BITS + PARITY),
      .DEPTH    (K * STEPS),
      .LATENCY  (WEIGHT_LATENCY),
      .STEM     (WEIGHTS),
      .STYLE    (STYLE),
      .ROW      (ROW),
      .BITS     (BITS),
      .LAST_BITS(LAST_BITS)
  ) weight_memory (
      .clk,
      .addr(word),
      .data(stored)
  );
  assign weights = stored[ELEMENTS*PE*W_BITS-1:0];
  if (PARITY != 0) begin : g_parity
    bf_parity #(
        .WIDTH(ELEMENTS * PE * W_BITS + 1)
    ) check (
        .clk,
        .rst,
        .used(fired[WEIGHT_LATENCY-1]),
        .word(stored),
        .parity_error
    );
  end else begin : g_no_parity
    assign parity_error = 1'b0;
  end
  if (SERIAL_OPERAND == "weight") begin : g_weights_apart
    assign a     = {WINDOWS{weights}};
    assign other = inputs;
  end else begin : g_inputs_apart
    assign a     = inputs;
    assign other = {WINDOWS{weights}};
  end
  bf_widen #(
      .LANES   (LANES),
      .IN_BITS (OTHER_BITS),
      .OUT_BITS(B_BITS),
      .KIND    (B_KIND)
  ) widen_b (
      .codes   (other),
      .integers(b)
  );

  // Products and their sums.
  localparam int EACH = PLANES > 0 ? B_BITS + PLANES - 1 + $clog2(PLANES)
                      : A_BITS + B_BITS + (A_KIND == "unsigned" ? 1 : 0);
  localparam bit CARRIES = PLANES > 0 && A_KIND != "unsigned";
  localparam int SUM = EACH + $clog2(ELEMENTS);
  logic [LANES-1:0][EACH-1:0] product;
  logic [LANES-1:0] carry;
  logic [WINDOWS*PE-1:0][SUM-1:0] sum;
  logic [WINDOWS*PE-1:0] sum_carry;
  logic [WINDOWS*PE-1:0][OUT_BITS-1:0] addend;
  logic [WINDOWS*PE*OUT_BITS-1:0] result;
  for (genvar p = 0; p < LANES; p++) begin : g_pe
    bf_product #(
        .A_BITS(A_BITS),
        .A_KIND(A_KIND),
        .B_BITS(B_BITS),
        .PLANES(PLANES),
        .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
    ) times (
        .clk,
        .a      (a[p]),
        .b      (b[p]),
        .product(product[p]),
        .carry  (carry[p])
    );
  end
  if (ELEMENTS == 1) begin : g_alone
    assign sum       = product;
    assign sum_carry = carry;
  end else begin : g_together
    for (genvar i = 0; i < WINDOWS * PE; i++) begin : g_sum
      logic [ELEMENTS-1:0][EACH-1:0] each;
      logic [ELEMENTS-1:0] each_carry;
      for (genvar k = 0; k < ELEMENTS; k++) begin : g_position
        assign each[k]       = product[(i/PE*ELEMENTS+k)*PE+i%PE];
        assign each_carry[k] = carry[(i/PE*ELEMENTS+k)*PE+i%PE];
      end
      bf_adder_tree #(
          .COUNT (ELEMENTS),
          .WIDTH (EACH),
          .SIGNED(1),
          .CARRY (32'(CARRIES)),
          .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
      ) tree (
          .clk,
          .operands (each),
          .carry    (each_carry),
          .sum      (sum[i]),
          .carry_out(sum_carry[i])
      );
    end
  end
  bf_widen #(
      .LANES   (WINDOWS * PE),
      .IN_BITS (SUM),
      .OUT_BITS(OUT_BITS),
      .KIND    ("signed")
  ) widen_sum (
      .codes   (sum),
      .integers(addend)
  );
  bf_interleaved_accumulator #(
      .DEPTH    (STEPS),
      .LANES    (WINDOWS * PE),
      .BITS     (OUT_BITS),
      .OPERATION(128'(CARRIES ? "sum_carry" : "sum")),
      .STYLE    (SUM_STYLE)
  ) accumulate (
      .clk,
      .rst,
      .valid (fired[PRODUCT_LATENCY-1]),
      .first (starts[PRODUCT_LATENCY-1]),
      .value (addend),
      .carry (sum_carry),
      .result
  );

  bf_stream_out #(
      .WIDTH  (WINDOWS * PE * OUT_BITS),
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
