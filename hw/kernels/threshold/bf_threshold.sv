// Multi-threshold: y = OUT_MIN + the number of thresholds of its channel that x reaches, or, in channels that INVERTS
// marks, OUT_MIN + the number that it does not reach (FINN: Thresholding). Thresholds are sorted and padded to
// 2^CODE_BITS - 1; each stage of a binary search finds one bit of the number, the highest first.
// Initiation interval: 1 beat of PE channels per cycle. Latency: LATENCY cycles.
`default_nettype none

module bf_threshold #(
    parameter int                      IN_BITS        = 8,                   // bits of an input element
    parameter int                      SIGNED         = 0,                   // 1: two's complement
    parameter int                      OUT_BITS       = 1,                   // bits of an output element
    parameter int                      OUT_MIN        = 0,                   // least output
    parameter int                      CODE_BITS      = 1,                   // stages
    parameter int                      PE             = 1,                   // channels a beat
    // C / PE, or 1 where all channels are the same
    parameter int                      GROUPS         = 1,
    parameter int                      LANES          = 1,                   // PE, or 1 where all channels are the same
    parameter int                      WORD           = 8,                   // bits of a threshold: IN_BITS or one more
    // 1: a threshold is reached by x > T; 0: by x >= T
    parameter int                      STRICT         = 0,
    parameter logic [32*CODE_BITS-1:0] LOOKUP_LATENCY = {CODE_BITS{32'd0}},  // cycles of each stage's memory
    // 1 + sum over stages of 1 + LOOKUP_LATENCY
    parameter int                      LATENCY        = 2,
    parameter int                      INVERT_LATENCY = 0,                   // cycles of the memory INVERTS
    // bit s: the thresholds of stage s are in block RAM
    parameter int                      BLOCK          = 0,
    // words of INVERTS: 0 (no channel decreases), 1 or GROUPS
    parameter int                      INVERT         = 0,
    // stem of the thresholds' files, see bf_threshold_stage
    parameter                          BOUNDS         = "bounds",
    parameter logic [32*CODE_BITS-1:0] FIRST          = '0,                  // of each stage
    parameter logic [32*CODE_BITS-1:0] FILES          = {CODE_BITS{32'd1}},
    parameter logic [32*CODE_BITS-1:0] ROW            = {CODE_BITS{32'd1}},
    parameter logic [32*CODE_BITS-1:0] BITS           = {CODE_BITS{32'd1}},
    parameter logic [32*CODE_BITS-1:0] LAST_BITS      = {CODE_BITS{32'd1}},
    // 1: in block RAM a parity bit above the thresholds
    parameter int                      PARITY         = 0,
    // which channels decrease: words of PE bits
    parameter                          INVERTS        = "inverts.hex"
) (
    input  wire logic                         clk,
    input  wire logic                         rst,
    input  wire logic                         s_valid,
    output      logic                         s_ready,
    input  wire logic [PE-1:0][ IN_BITS-1:0]  s_data,
    output      logic                         m_valid,
    input  wire logic                         m_ready,
    output      logic [PE-1:0][OUT_BITS-1:0]  m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                         parity_error
);
  localparam int GROUP = GROUPS > 1 ? $clog2(GROUPS) : 1;

  function automatic int start(input int stage);  // cycles from the firing to the stage's inputs
    start = 0;
    for (int s = 0; s < stage; s++) start += int'(LOOKUP_LATENCY[32*s+:32]) + 1;
  endfunction
  localparam int DEPTH = LATENCY - 1;  // cycles from the firing to the code

`ifndef __ICARUS__
  if (WORD < IN_BITS || OUT_BITS < CODE_BITS || (LANES != 1 && LANES != PE)) begin : g_bad_size
    $error("bf_threshold: WORD < IN_BITS, OUT_BITS < CODE_BITS or LANES neither 1 nor PE");
  end
`endif
`ifndef __ICARUS__
  if (CODE_BITS < 1 || CODE_BITS > 10) begin : g_bad_code
    $error("bf_threshold: CODE_BITS must be 1 to 10");
  end
`endif
`ifndef __ICARUS__
  if (INVERT != 0 && INVERT != 1 && INVERT != GROUPS) begin : g_bad_invert
    $error("bf_threshold: INVERT must be 0, 1 or GROUPS");
  end
`endif

  // Control: when a beat is where, and to which group of channels it belongs.
  logic credit, fire;
  logic [DEPTH:0] valid;  // bit i: a beat that fired i cycles ago
  logic [DEPTH:1] valid_q;
  logic [DEPTH:0][GROUP-1:0] group;
  assign s_ready  = credit;
  assign fire     = s_valid && credit;
  assign valid    = {valid_q, fire};
  always_ff @(posedge clk) valid_q <= rst ? '0 : valid[DEPTH-1:0];
  if (GROUPS > 1) begin : g_group
    logic [GROUP-1:0] count;
    always_ff @(posedge clk) begin
      if (rst) count <= '0;
      else if (fire) count <= count == GROUP'(GROUPS - 1) ? '0 : count + GROUP'(1);
    end
    logic [DEPTH:1][GROUP-1:0] group_q;
    for (genvar i = 1; i <= DEPTH; i++) begin : g_delay
      always_ff @(posedge clk) group_q[i] <= group[i-1];
    end
    assign group = {group_q, count};
  end else begin : g_alone
    assign group = '0;
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
        .LATENCY  (LOOKUP_LATENCY[32*s+:32]),
        .STYLE    (((BLOCK >> s) & 1) == 1 ? "block" : "logic"),
        .STEM     (BOUNDS),
        .FIRST    (FIRST[32*s+:32]),
        .FILES    (FILES[32*s+:32]),
        .ROW      (ROW[32*s+:32]),
        .BITS     (BITS[32*s+:32]),
        .LAST_BITS(LAST_BITS[32*s+:32]),
        .PARITY   (PARITY & (BLOCK >> s) & 1)
    ) stage (
        .clk,
        .rst,
        .used     (valid[start(s)+int'(LOOKUP_LATENCY[32*s+:32])]),
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
    bf_lookup #(
        .WIDTH(PE),
        .DEPTH(INVERT),
        .LATENCY(INVERT_LATENCY),
        .FILE (INVERTS)
    ) which (
        .clk,
        .addr(ADDR'(group[DEPTH-INVERT_LATENCY])),
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
