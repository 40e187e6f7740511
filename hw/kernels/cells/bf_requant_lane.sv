// One channel of bf_requant: y = clip(round((x * m + a) / 2^SHIFT), LOW, HIGH), in two's complement. The code `m`
// stands for the factor m * 2^SCALE. With POWER it is a sign above an exponent E, and stands for a product of (x or ~x)
// * 2^(E + SCALE), without a multiplier. Wide operands are cut into limbs of LIMB_X and LIMB_M bits; the products of
// the limbs are added in a tree with a register at each level.
// Initiation interval: 1 cycle. Latency: (M_BITS > 0) + LEVELS + 1 cycles from x, m, a to y.
`default_nettype none

module bf_requant_lane #(
    parameter int           X_BITS   = 8,
    parameter int           M_BITS   = 8,        // 0: a factor of 1
    parameter int           POWER    = 0,
    parameter int           SCALE    = 0,
    parameter int           A_BITS   = 8,        // 0: a is 0
    parameter int           SUM_BITS = 17,       // bits of x * m + a; more than SHIFT
    parameter int           SHIFT    = 4,
    parameter logic [127:0] ROUNDING = "ROUND",  // as in QONNX
    parameter int           LOW      = -8,
    parameter int           HIGH     = 7,
    parameter int           OUT_BITS = 4,
    parameter int           LIMB_X   = 18,       // signed bits of a multiplier
    parameter int           LIMB_M   = 18,
    parameter int           LEVELS   = 1         // of the tree: ceil(log2(products + (A_BITS > 0))) or more
) (
    input  wire logic                               clk,
    input  wire logic [               X_BITS-1:0]   x,
    input  wire logic [(M_BITS>0?M_BITS:1)-1:0]     m,
    input  wire logic [(A_BITS>0?A_BITS:1)-1:0]     a,
    output      logic [               OUT_BITS-1:0] y
);
  // Operands in limbs: all but the highest are unsigned, so they have one bit less.
  localparam int LIMBS_X = M_BITS == 0 || POWER != 0 || X_BITS <= LIMB_X ? 1 : (X_BITS - 2) / (LIMB_X - 1) + 1;
  localparam int LIMBS_M = POWER != 0 || M_BITS <= LIMB_M ? 1 : (M_BITS - 2) / (LIMB_M - 1) + 1;
  localparam int PRODUCTS = LIMBS_X * LIMBS_M;
  localparam int TERMS = PRODUCTS + (A_BITS > 0 ? 1 : 0);
`ifndef __ICARUS__
  if (TERMS > 1 << LEVELS) begin : g_bad_levels
    $error("bf_requant_lane: LEVELS too small");
  end
`endif
`ifndef __ICARUS__
  if (ROUNDING != "FLOOR" && ROUNDING != "CEIL" && ROUNDING != "UP" && ROUNDING != "DOWN" && ROUNDING != "ROUND" &&
      ROUNDING != "HALF_UP" && ROUNDING != "HALF_DOWN") begin : g_bad_rounding
    $error("bf_requant_lane: no such ROUNDING");
  end
`endif
`ifndef __ICARUS__
  if (SUM_BITS <= SHIFT) begin : g_bad_shift
    $error("bf_requant_lane: SUM_BITS must be more than SHIFT");
  end
`endif

  logic signed [SUM_BITS-1:0] term[TERMS];
  if (M_BITS == 0) begin : g_shift_only
    assign term[0] = SUM_BITS'($signed(x)) <<< SCALE;
  end else if (POWER != 0) begin : g_power
    localparam int PLACES = M_BITS - 1;
    localparam int REACH = X_BITS + (1 << PLACES) - 1;
    logic signed [REACH-1:0] signed_x, moved;
    assign signed_x = REACH'($signed(x ^ {X_BITS{m[M_BITS-1]}}));
    if (PLACES == 0) begin : g_sign
      always_ff @(posedge clk) moved <= signed_x;
    end else begin : g_shift
      always_ff @(posedge clk) moved <= signed_x <<< m[PLACES-1:0];
    end
    assign term[0] = SUM_BITS'(moved) <<< SCALE;
  end else begin : g_multiply
    localparam int WIDE_X = LIMBS_X * (LIMB_X - 1) + 1;
    localparam int WIDE_M = LIMBS_M * (LIMB_M - 1) + 1;
    logic signed [WIDE_X-1:0] wide_x;
    logic signed [WIDE_M-1:0] wide_m;
    assign wide_x = WIDE_X'($signed(x));
    assign wide_m = WIDE_M'($signed(m));
    for (genvar i = 0; i < LIMBS_X; i++) begin : g_x
      logic signed [LIMB_X-1:0] limb_x;
      assign limb_x = {i == LIMBS_X - 1 && wide_x[WIDE_X-1], wide_x[i*(LIMB_X-1)+:LIMB_X-1]};
      for (genvar j = 0; j < LIMBS_M; j++) begin : g_m
        logic signed [LIMB_M-1:0] limb_m;
        logic signed [LIMB_X+LIMB_M-1:0] product;
        assign limb_m = {j == LIMBS_M - 1 && wide_m[WIDE_M-1], wide_m[j*(LIMB_M-1)+:LIMB_M-1]};
        always_ff @(posedge clk) product <= limb_x * limb_m;
        assign term[i*LIMBS_M+j] = SUM_BITS'(product) <<< (i * (LIMB_X - 1) + j * (LIMB_M - 1) + SCALE);
      end
    end
  end
  if (A_BITS > 0) begin : g_addend
    logic signed [A_BITS-1:0] a_now;
    bf_delay #(
        .WIDTH (A_BITS),
        .CYCLES(M_BITS > 0 ? 1 : 0)
    ) delay_a (
        .clk,
        .d(a),
        .q(a_now)
    );
    assign term[PRODUCTS] = SUM_BITS'(a_now);
  end

  for (genvar level = 0; level <= LEVELS; level++) begin : g_level
    localparam int COUNT = (TERMS + (1 << level) - 1) >> level;
    logic signed [SUM_BITS-1:0] value[COUNT];
    if (level == 0) begin : g_terms
      for (genvar i = 0; i < COUNT; i++) begin : g_term
        assign value[i] = term[i];
      end
    end else begin : g_add
      localparam int BELOW = (TERMS + (1 << (level - 1)) - 1) >> (level - 1);
      for (genvar i = 0; i < COUNT; i++) begin : g_node
        if (2 * i + 1 < BELOW) begin : g_pair
          always_ff @(posedge clk) value[i] <= g_level[level-1].value[2*i] + g_level[level-1].value[2*i+1];
        end else begin : g_odd
          always_ff @(posedge clk) value[i] <= g_level[level-1].value[2*i];
        end
      end
    end
  end

  // Rounding down, what of that has to go up by one, and whether the range is left.
  localparam int WHOLE = SUM_BITS - SHIFT;
  localparam int NARROW = OUT_BITS + (LOW >= 0 ? 1 : 0);
  localparam int FULL_HIGH = HIGH == (1 << (NARROW - 1)) - 1 ? 1 : 0;
  localparam int FULL_LOW = LOW == -(1 << (NARROW - 1)) ? 1 : 0;
  localparam int WIDE = WHOLE > NARROW ? WHOLE : NARROW;
  logic signed [SUM_BITS-1:0] sum;
  logic signed [WIDE-1:0] whole;
  logic signed [NARROW-1:0] narrow;
  logic sign, up, fits, over, under;
  assign sum    = g_level[LEVELS].value[0];
  assign sign   = sum[SUM_BITS-1];
  assign whole  = WIDE'(sum >>> SHIFT);
  assign narrow = whole[NARROW-1:0];
  assign fits   = whole[WIDE-1:NARROW-1] == {(WIDE - NARROW + 1) {sign}};
  // Written with >= because Yosys makes an equality of its own for >, on ECP5.
  assign over   = fits ? FULL_HIGH == 0 && !(NARROW'(HIGH) >= narrow) : !sign;
  assign under  = fits ? FULL_LOW == 0 && !(narrow >= NARROW'(LOW)) : sign;

  if (SHIFT == 0 || ROUNDING == "FLOOR") begin : g_down
    assign up = 1'b0;
  end else begin : g_round
    logic half, rest;  // of what the shift cuts off: the highest bit, and whether there is more
    assign half = sum[SHIFT-1];
    if (SHIFT == 1) begin : g_one
      assign rest = 1'b0;
    end else begin : g_more
      assign rest = sum[SHIFT-2:0] != '0;
    end
    if (ROUNDING == "CEIL") begin : g_ceil
      assign up = half || rest;
    end else if (ROUNDING == "UP") begin : g_up
      assign up = (half || rest) && !sign;
    end else if (ROUNDING == "DOWN") begin : g_to_zero
      assign up = (half || rest) && sign;
    end else if (ROUNDING == "HALF_UP") begin : g_half_up
      assign up = half && (rest || !sign);
    end else if (ROUNDING == "HALF_DOWN") begin : g_half_down
      assign up = half && (rest || sign);
    end else begin : g_half_even
      assign up = half && (rest || narrow[0]);
    end
  end

  logic go_up, is_over, is_under;
  logic [OUT_BITS-1:0] kept;
  always_ff @(posedge clk) begin
    go_up    <= up && narrow != NARROW'(HIGH);
    is_over  <= over;
    is_under <= under;
    kept     <= narrow[OUT_BITS-1:0];
  end
  // One below LOW may round up to it; all else below gives LOW anyway.
  assign y = is_under ? OUT_BITS'(LOW) : is_over ? OUT_BITS'(HIGH) : kept + OUT_BITS'(go_up);
endmodule
