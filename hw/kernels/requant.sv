// Requant: y = clip(round((x * M + B) / 2^SHIFT), LOW, HIGH), M and B of the channel (FINN: Requant).
// Initiation interval: 1 beat of PE channels a cycle. Latency: 5 cycles where the factor is one power of two,
// else 8: limbs of the product, the two sums over them.
`default_nettype none

module requant #(
    parameter int    PE          = 1,       // channels a beat
    parameter int    GROUPS      = 1,       // C / PE, or 1 where all channels are the same
    parameter int    IN_BITS     = 16,      // bits of an input element
    parameter int    IN_SIGNED   = 1,       // 1: two's complement
    parameter int    X_LIMBS     = 1,       // parts of x for multiplication
    parameter int    M_BITS      = 0,       // bits of a signed factor; 0: the factor is 2^LEFT for all
    parameter int    M_LIMBS     = 1,       // parts of a factor
    parameter int    LEFT        = 0,       // with M_BITS = 0
    parameter int    B_BITS      = 0,       // bits of a signed addend; 0: none
    parameter int    SUM_BITS    = 17,      // bits of the signed x * M + B
    parameter int    SHIFT       = 0,       // bits below the binary point
    parameter string ROUNDING    = "ROUND", // QONNX's rounding mode
    parameter int    LOW         = 0,       // least output
    parameter int    HIGH        = 255,     // greatest output
    parameter int    OUT_BITS    = 8,       // bits of an output element
    parameter int    CREDITS     = 6,       // places in the output buffer
    parameter string STYLE       = "logic", // of the memories: "logic" or "block"
    parameter string MULTIPLIERS = "m.hex", // GROUPS words of PE factors
    parameter string ADDENDS     = "b.hex"  // GROUPS words of PE addends
) (
    input  wire logic                        clk,
    input  wire logic                        rst,
    input  wire logic                        s_valid,
    output      logic                        s_ready,
    input  wire logic [PE-1:0][ IN_BITS-1:0] s_data,
    output      logic                        m_valid,
    input  wire logic                        m_ready,
    output      logic [PE-1:0][OUT_BITS-1:0] m_data
);
  localparam int SUM_AT = M_BITS > 0 ? 6 : 3;  // cycles from the firing to the sum
  localparam int DEPTH  = SUM_AT + 1;          // to the rounded value
  localparam int ADDR   = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int WHOLE  = SUM_BITS - SHIFT > 1 ? SUM_BITS - SHIFT : 1;  // bits above the binary point
  localparam int WIDE   = (WHOLE > OUT_BITS ? WHOLE : OUT_BITS) + 2;    // holds the rounded value and both bounds
  if (SUM_BITS < 2 || CREDITS < 1) begin : g_bad_size
    $error("requant: SUM_BITS must be 2 or more, CREDITS 1 or more");
  end
  if (ROUNDING != "ROUND" && ROUNDING != "HALF_UP" && ROUNDING != "HALF_DOWN" && ROUNDING != "CEIL"
      && ROUNDING != "FLOOR" && ROUNDING != "UP" && ROUNDING != "DOWN") begin : g_bad_rounding
    $error("requant: ROUNDING is none of QONNX's modes");
  end

  logic credit, fire;
  logic [DEPTH:0] valid;
  assign s_ready = credit;
  assign fire    = s_valid && credit;
  always_ff @(posedge clk) valid <= rst ? '0 : (DEPTH + 1)'({valid, fire});

  logic [ADDR-1:0] group;
  if (GROUPS > 1) begin : g_group
    always_ff @(posedge clk) begin
      if (rst) group <= '0;
      else if (fire) group <= group == ADDR'(GROUPS - 1) ? '0 : group + ADDR'(1);
    end
  end else begin : g_alone
    assign group = '0;
  end

  // The input meets its channel's parameters two cycles after the firing.
  logic [PE-1:0][IN_BITS-1:0] early, x;
  always_ff @(posedge clk) begin
    early <= s_data;
    x     <= early;
  end

  logic signed [SUM_BITS-1:0] addend[PE];
  if (B_BITS > 0) begin : g_addend
    logic [PE-1:0][B_BITS-1:0] word;
    rom #(
        .WIDTH(PE * B_BITS),
        .DEPTH(GROUPS),
        .FILE (ADDENDS),
        .STYLE(STYLE)
    ) addends (
        .clk,
        .addr(group),
        .data(word)
    );
    for (genvar i = 0; i < PE; i++) begin : g_lane
      assign addend[i] = SUM_BITS'($signed(word[i]));
    end
  end else begin : g_no_addend
    for (genvar i = 0; i < PE; i++) begin : g_lane
      assign addend[i] = '0;
    end
  end

  logic signed [SUM_BITS-1:0] sum[PE];
  if (M_BITS == 0) begin : g_shift
    for (genvar i = 0; i < PE; i++) begin : g_lane
      logic signed [IN_BITS:0] wide;
      assign wide = {IN_SIGNED != 0 && x[i][IN_BITS-1], x[i]};
      always_ff @(posedge clk) sum[i] <= (SUM_BITS'(wide) <<< LEFT) + addend[i];
    end
  end else begin : g_multiply
    // Limbs of at most 17 bits, the highest signed, so that a product of two fits any family's multiplier.
    localparam int X_BITS = IN_BITS + 1;
    localparam int XL     = (X_BITS + X_LIMBS - 1) / X_LIMBS;
    localparam int ML     = (M_BITS + M_LIMBS - 1) / M_LIMBS;
    logic [PE-1:0][M_BITS-1:0] word;
    rom #(
        .WIDTH(PE * M_BITS),
        .DEPTH(GROUPS),
        .FILE (MULTIPLIERS),
        .STYLE(STYLE)
    ) multipliers (
        .clk,
        .addr(group),
        .data(word)
    );
    for (genvar i = 0; i < PE; i++) begin : g_lane
      logic signed [X_LIMBS*XL-1:0] wide;
      logic signed [M_LIMBS*ML-1:0] factor;
      logic signed [SUM_BITS-1:0] part[M_LIMBS][X_LIMBS];
      logic signed [SUM_BITS-1:0] row[M_LIMBS];
      logic signed [SUM_BITS-1:0] addend_q[3];
      assign wide   = (X_LIMBS * XL)'($signed({IN_SIGNED != 0 && x[i][IN_BITS-1], x[i]}));
      assign factor = (M_LIMBS * ML)'($signed(word[i]));
      for (genvar m = 0; m < M_LIMBS; m++) begin : g_row
        for (genvar k = 0; k < X_LIMBS; k++) begin : g_part
          logic signed [XL:0] a;
          logic signed [ML:0] b;
          logic signed [XL+ML+1:0] product;
          always_ff @(posedge clk) begin
            a       <= {k == X_LIMBS - 1 && wide[k*XL+XL-1], wide[k*XL+:XL]};
            b       <= {m == M_LIMBS - 1 && factor[m*ML+ML-1], factor[m*ML+:ML]};
            product <= a * b;
          end
          assign part[m][k] = SUM_BITS'(product) <<< (k * XL);
        end
      end
      always_ff @(posedge clk) begin
        addend_q <= '{addend[i], addend_q[0], addend_q[1]};
        for (int m = 0; m < M_LIMBS; m++) row[m] <= total_part(part[m]);
        sum[i] <= total_row(row) + addend_q[2];
      end
    end

    function automatic logic signed [SUM_BITS-1:0] total_part(input logic signed [SUM_BITS-1:0] terms[X_LIMBS]);
      total_part = '0;
      for (int k = 0; k < X_LIMBS; k++) total_part += terms[k];
    endfunction
    function automatic logic signed [SUM_BITS-1:0] total_row(input logic signed [SUM_BITS-1:0] terms[M_LIMBS]);
      total_row = '0;
      for (int m = 0; m < M_LIMBS; m++) total_row += terms[m] <<< (m * ML);
    endfunction
  end

  // Rounding: the floor, and one more where the fraction and the mode say so.
  logic [PE-1:0][OUT_BITS-1:0] result;
  for (genvar i = 0; i < PE; i++) begin : g_round
    logic signed [WIDE-1:0] floor, rounded;
    logic up;
    if (SHIFT == 0) begin : g_whole
      assign floor = WIDE'(sum[i]);
      assign up    = 1'b0;
    end else begin : g_fraction
      logic half, below, negative, odd;
      assign negative = sum[i][SUM_BITS-1];
      assign floor    = WIDE'(sum[i] >>> SHIFT);
      assign odd      = floor[0];
      if (SHIFT <= SUM_BITS) begin : g_inside
        assign half = sum[i][SHIFT-1];
        if (SHIFT > 1) begin : g_below
          assign below = |sum[i][SHIFT-2:0];
        end else begin : g_none
          assign below = 1'b0;
        end
      end else begin : g_outside
        assign half  = negative;
        assign below = |sum[i];
      end
      always_comb begin
        case (ROUNDING)
          "CEIL": up = half || below;
          "UP": up = !negative && (half || below);
          "DOWN": up = negative && (half || below);
          "HALF_UP": up = half && (below || !negative);
          "HALF_DOWN": up = half && (below || negative);
          "FLOOR": up = 1'b0;
          default: up = half && (below || odd);
        endcase
      end
    end
    always_ff @(posedge clk) rounded <= floor + WIDE'({1'b0, up});
    always_comb begin
      if (rounded < WIDE'(LOW)) result[i] = OUT_BITS'(LOW);
      else if (rounded > WIDE'(HIGH)) result[i] = OUT_BITS'(HIGH);
      else result[i] = rounded[OUT_BITS-1:0];
    end
  end

  stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (valid[DEPTH-1]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
