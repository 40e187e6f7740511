// Requantization: y = clip(round((x * m + a) / 2^SHIFT), LOW, HIGH) with m and a per channel (FINN: Requant). PE
// channels per beat. Initiation interval: 1 beat per cycle. Latency: LATENCY cycles.
`default_nettype none

module bf_requant #(
    parameter int           IN_BITS  = 8,                // bits of an input element
    parameter int           SIGNED   = 1,                // 1: two's complement
    parameter int           PE       = 1,                // channels a beat
    parameter int           GROUPS   = 1,                // C / PE, or 1 where m and a are the same for all channels
    parameter int           M_BITS   = 8,                // of m's code; 0: m is 2^SCALE
    parameter int           POWER    = 0,                // how codes stand for m, see bf_requant_lane
    parameter int           SCALE    = 0,
    parameter int           A_BITS   = 8,                // of a; 0: nothing to add
    parameter int           SUM_BITS = 17,               // bits of x * m + a; more than SHIFT
    parameter int           SHIFT    = 4,
    parameter logic [127:0] ROUNDING = "ROUND",          // as in QONNX
    parameter int           LOW      = -8,
    parameter int           HIGH     = 7,
    parameter int           OUT_BITS = 4,                // bits of an output element
    parameter int           LIMB_X   = 18,               // signed bits of a multiplier
    parameter int           LIMB_M   = 18,
    parameter int           FETCH    = 1,                // cycles of bf_lookup; at least 1 before a multiplier
    parameter int           LATENCY  = 5,                // 2 + FETCH + LEVELS + (M_BITS > 0)
    parameter int           LEVELS   = 1,                // of adders
    parameter logic [127:0] STYLE    = "logic",          // of the parameters' memory, see bf_lookup
    parameter int           PARITY   = 0,                // 1: a parity bit above all else in FILE
    parameter               FILE     = "parameters.hex"  // GROUPS words of PE times {a, m}
) (
    input  wire logic                        clk,
    input  wire logic                        rst,
    input  wire logic                        s_valid,
    output      logic                        s_ready,
    input  wire logic [PE-1:0][ IN_BITS-1:0] s_data,
    output      logic                        m_valid,
    input  wire logic                        m_ready,
    output      logic [PE-1:0][OUT_BITS-1:0] m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                        parity_error
);
  localparam int DEPTH = LATENCY - 1;  // cycles from the firing to y
  localparam int X_BITS = IN_BITS + (SIGNED == 0 ? 1 : 0);
  localparam int GROUP = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int M = M_BITS > 0 ? M_BITS : 1;
  localparam int A = A_BITS > 0 ? A_BITS : 1;

  logic credit, fire;
  logic [DEPTH:0] valid;  // bit i: a beat that fired i cycles ago
  logic [DEPTH:1] valid_q;
  assign s_ready  = credit;
  assign fire     = s_valid && credit;
  assign valid    = {valid_q, fire};
  always_ff @(posedge clk) valid_q <= rst ? '0 : valid[DEPTH-1:0];

  logic [PE-1:0][M-1:0] m;
  logic [PE-1:0][A-1:0] a;
  if (M_BITS + A_BITS == 0) begin : g_no_parameters
    assign m     = '1;
    assign a     = '0;
    assign parity_error = 1'b0;
  end else begin : g_parameters
    logic [GROUP-1:0] group;
    if (GROUPS > 1) begin : g_count
      always_ff @(posedge clk) begin
        if (rst) group <= '0;
        else if (fire) group <= group == GROUP'(GROUPS - 1) ? '0 : group + GROUP'(1);
      end
    end else begin : g_constant
      assign group = '0;
    end
    localparam int WORD = M_BITS + A_BITS;
    logic [PE*WORD+PARITY-1:0] stored;
    logic [PE-1:0][WORD-1:0] word;
    assign word = stored[PE*WORD-1:0];
    bf_lookup #(
        .WIDTH(PE * WORD + PARITY),
        .DEPTH(GROUPS),
        .LATENCY(GROUPS == 1 ? 0 : FETCH),
        .FILE (FILE),
        .STYLE(STYLE)
    ) parameters (
        .clk,
        .addr(group),
        .data(stored)
    );
    if (PARITY != 0) begin : g_parity
      bf_parity #(
          .WIDTH(PE * WORD + 1)
      ) check (
          .clk,
          .rst,
          .used(valid[FETCH]),
          .word(stored),
          .parity_error
      );
    end else begin : g_no_parity
      assign parity_error = 1'b0;
    end
    for (genvar lane = 0; lane < PE; lane++) begin : g_lane
      assign m[lane] = M_BITS > 0 ? word[lane][M-1:0] : '1;
      assign a[lane] = A_BITS > 0 ? word[lane][WORD-A+:A] : '0;
    end
  end

  logic [PE-1:0][IN_BITS-1:0] x;
  bf_delay #(
      .WIDTH (PE * IN_BITS),
      .CYCLES(FETCH)
  ) delay_x (
      .clk,
      .d(s_data),
      .q(x)
  );

  logic [PE-1:0][OUT_BITS-1:0] y;
  for (genvar lane = 0; lane < PE; lane++) begin : g_lane
    bf_requant_lane #(
        .X_BITS  (X_BITS),
        .M_BITS  (M_BITS),
        .POWER   (POWER),
        .SCALE   (SCALE),
        .A_BITS  (A_BITS),
        .SUM_BITS(SUM_BITS),
        .SHIFT   (SHIFT),
        .ROUNDING(ROUNDING),
        .LOW     (LOW),
        .HIGH    (HIGH),
        .OUT_BITS(OUT_BITS),
        .LIMB_X  (LIMB_X),
        .LIMB_M  (LIMB_M),
        .LEVELS  (LEVELS)
    ) channel (
        .clk,
        .x(X_BITS'({SIGNED != 0 && x[lane][IN_BITS-1], x[lane]})),
        .m(m[lane]),
        .a(a[lane]),
        .y(y[lane])
    );
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
