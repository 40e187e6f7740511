// Bits of stored features: in a step each lane compares one of them with a level. Which ones is in a memory of constants.
// Initiation interval: 1 cycle. Latency from `step` to `reached`: LATENCY + READ + 1 cycles.
//
// A feature is written LATENCY cycles after `take`, so that the steps before have read the one in its place.
`default_nettype none

module bf_level_encoder #(
    parameter int           IN_BITS      = 4,        // bits of a feature
    parameter int           IN_SIGNED    = 0,        // 1: features are in two's complement
    parameter int           LANES        = 1,
    parameter int           STEPS        = 8,        // words of the memory of levels
    parameter int           STEP_BITS    = 3,
    parameter int           FEATURE_BITS = 3,        // bits of the number of a feature
    parameter int           CODE_BITS    = 4,        // bits of a level, in offset binary; one may be never reached
    parameter int           READ         = 2,        // cycles from the number of a feature to the feature, 2
    parameter logic [127:0] STYLE        = "block",  // of the memories of features: see bf_banked_vector
    parameter               LEVELS       = "levels", // words of a feature, in the low bits, and a level for each lane
    parameter int           LATENCY      = 2,        // of this memory: see bf_weight_memory
    parameter logic [127:0] LEVELS_STYLE = "logic",
    parameter int           ROW          = 1,
    parameter int           BITS         = 1,
    parameter int           LAST_BITS    = 1,
    parameter int           PARITY       = 0
) (
    input  wire logic                 clk,
    input  wire logic                 rst,
    input  wire logic                 take,     // `feature` is stored as number `step`
    input  wire logic [  IN_BITS-1:0] feature,
    input  wire logic                 encode,   // `step` is one of the memory of levels
    input  wire logic [STEP_BITS-1:0] step,
    output      logic [    LANES-1:0] reached,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                 parity_error
);
  localparam int WIDTH = LANES * (FEATURE_BITS + CODE_BITS);
  localparam int ADDR = STEPS > 1 ? $clog2(STEPS) : 1;

  logic [WIDTH+PARITY-1:0] word;
  bf_weight_memory #(
      .WIDTH    (WIDTH + PARITY),
      .DEPTH    (STEPS),
      .LATENCY  (LATENCY),
      .STEM     (LEVELS),
      .STYLE    (LEVELS_STYLE),
      .ROW      (ROW),
      .BITS     (BITS),
      .LAST_BITS(LAST_BITS)
  ) levels (
      .clk,
      .addr(step[ADDR-1:0]),
      .data(word)
  );

  logic [LANES-1:0][CODE_BITS+FEATURE_BITS-1:0] lanes;
  logic [LANES-1:0][FEATURE_BITS-1:0] places;
  logic [LANES-1:0][CODE_BITS-1:0] codes, code;
  assign lanes = word[WIDTH-1:0];
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    assign places[i] = lanes[i][FEATURE_BITS-1:0];
    assign codes[i]  = lanes[i][CODE_BITS+FEATURE_BITS-1:FEATURE_BITS];
  end
  bf_delay #(
      .WIDTH (LANES * CODE_BITS),
      .CYCLES(READ)
  ) wait_for_features (
      .clk,
      .d(codes),
      .q(code)
  );

  logic [LANES-1:0][IN_BITS-1:0] read, x;
  bf_banked_vector #(
      .WIDTH      (IN_BITS),
      .BANKS      (LANES),
      .INDEX      (FEATURE_BITS - 1),
      .WRITE_DELAY(LATENCY),
      .STYLE      (STYLE)
  ) features (
      .clk,
      .take,
      .place(step[FEATURE_BITS-1:0]),
      .beat ({LANES{feature}}),
      .places,
      .data (read)
  );
  bf_delay #(
      .WIDTH (LANES * IN_BITS),
      .CYCLES(STYLE == "block" ? 0 : 1)
  ) wait_for_blocks (
      .clk,
      .d(read),
      .q(x)
  );

  localparam int WIDER = CODE_BITS > IN_BITS ? CODE_BITS : IN_BITS;
  localparam logic [IN_BITS-1:0] FLIP = IN_BITS'(IN_SIGNED) << (IN_BITS - 1);
  for (genvar i = 0; i < LANES; i++) begin : g_compare
    always_ff @(posedge clk) reached[i] <= WIDER'(x[i] ^ FLIP) >= WIDER'(code[i]);
  end

  if (PARITY != 0) begin : g_parity
    logic [LATENCY:0] used;
    logic [LATENCY:1] used_q;
    assign used = {used_q, encode};
    always_ff @(posedge clk) used_q <= rst ? '0 : used[LATENCY-1:0];
    bf_parity #(
        .WIDTH(WIDTH + 1)
    ) check (
        .clk,
        .rst,
        .used(used[LATENCY]),
        .word,
        .parity_error
    );
  end else begin : g_no_parity
    assign parity_error = 1'b0;
  end
endmodule
