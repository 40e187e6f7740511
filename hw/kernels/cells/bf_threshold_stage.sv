// One step of the binary search of bf_threshold: finds the next lower bit of the codes of PE channels. The channel
// group and the bits found so far address the threshold. Initiation interval: 1 cycle. Latency: 1 + LATENCY cycles.
`default_nettype none

module bf_threshold_stage #(
    parameter  int           IN_BITS   = 8,         // bits of an input element
    parameter  int           CODE_BITS = 1,         // bits of a whole code
    parameter  int           STAGE     = 0,         // bits found before this stage
    parameter  int           PE        = 1,         // channels a cycle
    parameter  int           GROUPS    = 1,         // C / PE, or 1 where all channels have the same thresholds
    parameter  int           LANES     = 1,         // PE, or 1 where all channels have the same thresholds
    parameter  int           WORD      = 8,         // bits of a threshold
    parameter  int           STRICT    = 0,         // 1: a threshold is reached by x > T; 0: by x >= T
    parameter  int           LATENCY   = 1,         // of the memory: 0 to 2 for bf_lookup, 3 for bf_weight_memory
    parameter  logic [127:0] STYLE     = "logic",   // see bf_lookup
    // lane i's memory is in the FILES from STEM<FIRST + i * FILES>.hex on, words
    parameter                STEM      = "bounds",
    // by {group, bits so far}; of stage 0 all lanes are in one, a word a group
    parameter  int           FIRST     = 0,
    parameter  int           FILES     = 1,
    parameter  int           ROW       = 16,        // this and what follows: see bf_weight_memory
    parameter  int           BITS      = 8,
    parameter  int           LAST_BITS = 8,
    parameter  int           PARITY    = 0,         // 1: a parity bit above the thresholds
    localparam int           GROUP     = GROUPS > 1 ? $clog2(GROUPS) : 1
) (
    input  wire logic                         clk,
    input  wire logic                         rst,
    input  wire logic                         used,       // a beat is where its thresholds are
    input  wire logic [ GROUP-1:0]            group,
    input  wire logic [PE-1:0][  IN_BITS-1:0] x,
    input  wire logic [PE-1:0][CODE_BITS-1:0] code,
    output      logic [PE-1:0][  IN_BITS-1:0] x_next,
    output      logic [PE-1:0][CODE_BITS-1:0] code_next,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                         parity_error
);
  localparam int DEPTH = GROUPS << STAGE;
  localparam int ADDR = DEPTH > 1 ? $clog2(DEPTH) : 1;
  // Stage 0 has one memory for all lanes, for they all read at the same address.
  localparam int MEMORIES = STAGE == 0 ? 1 : PE;
  localparam int WIDTH = STAGE == 0 ? LANES * WORD : WORD;

  logic [MEMORIES-1:0][WIDTH+PARITY-1:0] word;
  logic [MEMORIES-1:0] parity_errors;
  for (genvar i = 0; i < MEMORIES; i++) begin : g_memory
    localparam int FILE = FIRST + (LANES > 1 ? i : 0) * FILES;
    logic [ADDR-1:0] addr;
    if (STAGE == 0) begin : g_group
      assign addr = group;
    end else if (GROUPS == 1) begin : g_code
      assign addr = code[i][STAGE-1:0];
    end else begin : g_both
      assign addr = {group, code[i][STAGE-1:0]};
    end
    if (LATENCY == 3) begin : g_deep
      bf_weight_memory #(
          .WIDTH    (WIDTH + PARITY),
          .DEPTH    (DEPTH),
          .LATENCY  (LATENCY),
          .STEM     (STEM),
          .FIRST    (FILE),
          .STYLE    (STYLE),
          .ROW      (ROW),
          .BITS     (BITS),
          .LAST_BITS(LAST_BITS)
      ) memory (
          .clk,
          .addr,
          .data(word[i])
      );
    end else begin : g_lookup
      bf_lookup #(
          .WIDTH(WIDTH + PARITY),
          .DEPTH(DEPTH),
          .LATENCY(LATENCY),
          .FILE (STEM),
          .INDEX(FILE),
          .STYLE(STYLE)
      ) memory (
          .clk,
          .addr,
          .data(word[i])
      );
    end
    if (PARITY != 0) begin : g_parity
      bf_parity #(
          .WIDTH(WIDTH + 1)
      ) check (
          .clk,
          .rst,
          .used,
          .word (word[i]),
          .parity_error(parity_errors[i])
      );
    end else begin : g_no_parity
      assign parity_errors[i] = 1'b0;
    end
  end
  assign parity_error = parity_errors != '0;

  // The inputs, when their thresholds are there.
  logic [PE-1:0][IN_BITS-1:0] x_now;
  logic [PE-1:0][CODE_BITS-1:0] code_now;
  bf_delay #(
      .WIDTH (PE * IN_BITS),
      .CYCLES(LATENCY)
  ) delay_x (
      .clk,
      .d(x),
      .q(x_now)
  );
  bf_delay #(
      .WIDTH (PE * CODE_BITS),
      .CYCLES(LATENCY)
  ) delay_code (
      .clk,
      .d(code),
      .q(code_now)
  );

  // Comparison with a constant, for lookup tables: a carry chain would cost three times as many. Chains of
  // 12 bits (four tables of four inputs in a row) side by side.
  function automatic logic reached_constant(input logic [WORD-1:0] value, input logic [WORD-1:0] bound);
    logic above, equal;
    reached_constant = STRICT == 0;
    for (int low = 0; low < WORD; low += 12) begin
      above = 1'b0;
      equal = 1'b1;
      for (int i = low; i < low + 12 && i < WORD; i++) begin
        above = bound[i] ? value[i] && above : value[i] || above;
        equal = equal && value[i] == bound[i];
      end
      reached_constant = above || (equal && reached_constant);
    end
  endfunction

  for (genvar lane = 0; lane < PE; lane++) begin : g_lane
    localparam int MEMORY = STAGE == 0 ? 0 : lane;
    localparam int AT = STAGE == 0 && LANES > 1 ? lane * WORD : 0;
    logic [WORD-1:0] value, bound;
    logic hit;
    assign value = WORD'(x_now[lane]);
    assign bound = word[MEMORY][AT+:WORD];
    if (LATENCY == 0) begin : g_constant
      assign hit = reached_constant(value, bound);
    end else if (STRICT != 0) begin : g_above
      assign hit = !(bound >= value);  // Yosys makes an equality of its own for >
    end else begin : g_from
      assign hit = value >= bound;
    end
    always_ff @(posedge clk) begin
      x_next[lane]    <= x_now[lane];
      code_next[lane] <= CODE_BITS'({code_now[lane], hit});
    end
  end
endmodule
