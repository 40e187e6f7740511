// Requantization: y = clip(round((x * m + a) / 2^SHIFT), LOW, HIGH), m and a for each channel (FINN: Requant).
// PE channels a beat. Initiation interval: 1 beat. Latency: 2 cycles + FETCH + LEVELS, + 1 with codes of m.
`default_nettype none

module bf_requant #(
    parameter int    IN_BITS  = 8,               // bits of an input element
    parameter int    SIGNED   = 1,               // 1: two's complement
    parameter int    PE       = 1,               // channels a beat
    parameter int    GROUPS   = 1,               // C / PE, or 1 where m and a are the same for all channels
    parameter int    M_BITS   = 8,               // of m's code; 0: m is 2^SCALE
    parameter int    POWER    = 0,               // how codes stand for m, see bf_requant_lane
    parameter int    SCALE    = 0,
    parameter int    A_BITS   = 8,               // of a; 0: nothing to add
    parameter int    SUM_BITS = 17,              // hold x * m + a; more than SHIFT
    parameter int    SHIFT    = 4,
    parameter string ROUNDING = "ROUND",         // as in QONNX
    parameter int    LOW      = -8,
    parameter int    HIGH     = 7,
    parameter int    OUT_BITS = 4,               // bits of an output element
    parameter int    LIMB_X   = 18,              // signed bits of a multiplier
    parameter int    LIMB_M   = 18,
    parameter int    FETCH    = 2,               // cycles for m and a: what `bf_lookup` takes, and 1 before a multiplier
    parameter int    LEVELS   = 1,               // of adders
    parameter string STYLE    = "logic",         // of the parameters' memory, see bf_lookup
    parameter int    PARITY   = 0,               // 1: the words in FILE carry a parity bit above all else
    parameter string FILE     = "parameters.hex" // GROUPS words of PE times {a, m}
) (
    input  wire logic                        clk,
    input  wire logic                        rst,
    input  wire logic                        s_valid,
    output      logic                        s_ready,
    input  wire logic [PE-1:0][ IN_BITS-1:0] s_data,
    output      logic                        m_valid,
    input  wire logic                        m_ready,
    output      logic [PE-1:0][OUT_BITS-1:0] m_data,
    output      logic                        parity_error  // a word that was used had a wrong parity; never without PARITY
);
  localparam int DEPTH = FETCH + (M_BITS > 0 ? 1 : 0) + LEVELS + 1;  // cycles from the firing to y
  localparam int X_BITS = IN_BITS + (SIGNED == 0 ? 1 : 0);
  localparam int GROUP = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int M = M_BITS > 0 ? M_BITS : 1;
  localparam int A = A_BITS > 0 ? A_BITS : 1;

  localparam int LOOKUP = GROUPS == 1 ? 0 : GROUPS <= 64 ? 1 : 2;
  if (FETCH < LOOKUP || (GROUPS > 1 && FETCH > LOOKUP)) begin : g_bad_fetch
    $error("bf_requant: FETCH must be the latency of bf_lookup");
  end

  logic credit, fire;
  logic [DEPTH:0] valid;
  assign s_ready  = credit;
  assign fire     = s_valid && credit;
  assign valid[0] = fire;
  always_ff @(posedge clk) valid[DEPTH:1] <= rst ? '0 : valid[DEPTH-1:0];

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
    logic [PE*(M_BITS+A_BITS)+PARITY-1:0] stored;
    logic [PE-1:0][M_BITS+A_BITS-1:0] word;
    bf_lookup #(
        .WIDTH(PE * (M_BITS + A_BITS) + PARITY),
        .DEPTH(GROUPS),
        .FILE (FILE),
        .STYLE(STYLE)
    ) parameters (
        .clk,
        .addr(group),
        .data(stored)
    );
    assign word = stored[PE*(M_BITS+A_BITS)-1:0];
    if (PARITY != 0) begin : g_parity
      bf_parity #(
          .WIDTH(PE * (M_BITS + A_BITS) + 1)
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
      assign a[lane] = A_BITS > 0 ? word[lane][M_BITS+A_BITS-1-:A] : '0;
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
