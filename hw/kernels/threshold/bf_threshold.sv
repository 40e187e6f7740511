// Multi-threshold: y = OUT_MIN + the number of its channel's thresholds that x reaches, or, where INVERT
// says so, OUT_MIN + the number that it does not reach (FINN: Thresholding). Thresholds are sorted, so each
// stage finds one bit of the number, the highest first; lists are padded to 2^CODE_BITS - 1 thresholds.
// Initiation interval: 1 beat of PE channels a cycle. Latency: 1 cycle + for each stage 1 with constant
// thresholds, 2 with at most 64 of them in a memory, 3 with at most 2048, else 4.
`default_nettype none

module bf_threshold #(
    parameter int    IN_BITS   = 8,             // bits of an input element
    parameter int    SIGNED    = 0,             // 1: two's complement
    parameter int    OUT_BITS  = 1,             // bits of an output element
    parameter int    OUT_MIN   = 0,             // least output
    parameter int    CODE_BITS = 1,             // stages
    parameter int    PE        = 1,             // channels a beat
    parameter int    GROUPS    = 1,             // C / PE, or 1 where all channels are the same
    parameter int    LANES     = 1,             // PE, or 1 where all channels are the same
    parameter int    WORD      = 8,             // bits of a threshold: IN_BITS or one more
    parameter int    STRICT    = 0,             // 1: a threshold is reached by x > T; 0: by x >= T
    parameter int    BLOCK     = 0,             // bit s: the thresholds of stage s are in block RAM
    parameter int    INVERT    = 0,             // words of INVERTS: 0 (no channel decreases), 1 or GROUPS
    parameter string BOUNDS    = "bounds",      // stem of the thresholds' files, see bf_threshold_stage
    parameter bit [CODE_BITS-1:0][31:0] FIRST     = '0,                // of each stage
    parameter bit [CODE_BITS-1:0][31:0] FILES     = {CODE_BITS{32'd1}},
    parameter bit [CODE_BITS-1:0][31:0] ROW       = {CODE_BITS{32'd1}},
    parameter bit [CODE_BITS-1:0][31:0] BITS      = {CODE_BITS{32'd1}},
    parameter bit [CODE_BITS-1:0][31:0] LAST_BITS = {CODE_BITS{32'd1}},
    parameter int    PARITY    = 0,             // 1: words in block RAM carry a parity bit above the thresholds
    parameter string INVERTS   = "inverts.hex"  // which channels decrease: words of PE bits
) (
    input  wire logic                         clk,
    input  wire logic                         rst,
    input  wire logic                         s_valid,
    output      logic                         s_ready,
    input  wire logic [PE-1:0][ IN_BITS-1:0]  s_data,
    output      logic                         m_valid,
    input  wire logic                         m_ready,
    output      logic [PE-1:0][OUT_BITS-1:0]  m_data,
    output      logic                         parity_error   // a word that was used had a wrong parity; never without PARITY
);
  localparam int SMALL = 64;
  localparam int GROUP = GROUPS > 1 ? $clog2(GROUPS) : 1;

  function automatic int lookup_cycles(input int words);
    return words == 1 ? 0 : words <= SMALL ? 1 : words <= 2048 ? 2 : 3;
  endfunction
  function automatic int start(input int stage);  // cycles from the firing to the stage's inputs
    int cycles;
    cycles = 0;
    for (int s = 0; s < stage; s++) cycles += lookup_cycles(GROUPS << s) + 1;
    return cycles;
  endfunction
  localparam int DEPTH = start(CODE_BITS);

  if (WORD < IN_BITS || OUT_BITS < CODE_BITS || (LANES != 1 && LANES != PE)) begin : g_bad_size
    $error("bf_threshold: WORD < IN_BITS, OUT_BITS < CODE_BITS or LANES neither 1 nor PE");
  end
  if (CODE_BITS < 1 || CODE_BITS > 10) begin : g_bad_code
    $error("bf_threshold: CODE_BITS must be 1 to 10");
  end
  if (INVERT != 0 && INVERT != 1 && INVERT != GROUPS) begin : g_bad_invert
    $error("bf_threshold: INVERT must be 0, 1 or GROUPS");
  end

  // Control: when a beat is where, and to which group of channels it belongs.
  logic credit, fire;
  logic [DEPTH:0] valid;
  logic [GROUP-1:0] group[DEPTH+1];
  assign s_ready  = credit;
  assign fire     = s_valid && credit;
  assign valid[0] = fire;
  always_ff @(posedge clk) begin
    valid[DEPTH:1] <= rst ? '0 : valid[DEPTH-1:0];
  end
  if (GROUPS > 1) begin : g_group
    logic [GROUP-1:0] count;
    always_ff @(posedge clk) begin
      if (rst) count <= '0;
      else if (fire) count <= count == GROUP'(GROUPS - 1) ? '0 : count + GROUP'(1);
    end
    assign group[0] = count;
    for (genvar i = 1; i <= DEPTH; i++) begin : g_delay
      always_ff @(posedge clk) group[i] <= group[i-1];
    end
  end else begin : g_alone
    for (genvar i = 0; i <= DEPTH; i++) begin : g_none
      assign group[i] = '0;
    end
  end

  // Two's complement to offset binary, then one bit of the code a stage.
  logic [PE-1:0][IN_BITS-1:0] x[CODE_BITS+1];
  logic [PE-1:0][CODE_BITS-1:0] code[CODE_BITS+1];
  logic [CODE_BITS-1:0] parity_errors;
  for (genvar lane = 0; lane < PE; lane++) begin : g_input
    assign x[0][lane]    = s_data[lane] ^ (IN_BITS'(SIGNED) << (IN_BITS - 1));
    assign code[0][lane] = '0;
  end
  for (genvar s = 0; s < CODE_BITS; s++) begin : g_stage
    bf_threshold_stage #(
        .IN_BITS  (IN_BITS),
        .CODE_BITS(CODE_BITS),
        .STAGE    (s),
        .PE       (PE),
        .GROUPS   (GROUPS),
        .LANES    (LANES),
        .WORD     (WORD),
        .STRICT   (STRICT),
        .SMALL    (SMALL),
        .STYLE    (((BLOCK >> s) & 1) == 1 ? "block" : "logic"),
        .STEM     (BOUNDS),
        .FIRST    (FIRST[s]),
        .FILES    (FILES[s]),
        .ROW      (ROW[s]),
        .BITS     (BITS[s]),
        .LAST_BITS(LAST_BITS[s]),
        .PARITY   (PARITY & (BLOCK >> s) & 1)
    ) stage (
        .clk,
        .rst,
        .used     (valid[start(s)+lookup_cycles(GROUPS<<s)]),
        .group    (group[start(s)]),
        .x        (x[s]),
        .code     (code[s]),
        .x_next   (x[s+1]),
        .code_next(code[s+1]),
        .parity_error    (parity_errors[s])
    );
  end
  assign parity_error = parity_errors != '0;

  // Code to output.
  logic [PE-1:0] invert;
  if (INVERT == 0) begin : g_increasing
    assign invert = '0;
  end else begin : g_invert
    localparam int ADDR = INVERT == 1 ? 1 : GROUP;
    localparam int LOOKUP = INVERT == 1 ? 0 : INVERT <= SMALL ? 1 : 2;
    bf_lookup #(
        .WIDTH(PE),
        .DEPTH(INVERT),
        .SMALL(SMALL),
        .FILE (INVERTS)
    ) which (
        .clk,
        .addr(ADDR'(group[DEPTH-LOOKUP])),
        .data(invert)
    );
  end
  logic [PE-1:0][OUT_BITS-1:0] y;
  for (genvar lane = 0; lane < PE; lane++) begin : g_output
    assign y[lane] = OUT_BITS'(code[CODE_BITS][lane] ^ {CODE_BITS{invert[lane]}}) + OUT_BITS'(OUT_MIN);
  end

  bf_stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(DEPTH + 2)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (valid[DEPTH]),
      .data (y),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
