// Dot product of integers with one-bit signs, or with PLANES rows of signs of weight 1, 2, 4, ...:
//   OFFSET_BITS = 0 (one plane): total + carry == sum over lanes of +-v
//   otherwise: total == (sum over planes b of 2^b * (sum over lanes of +-v) + extra) >> 1
// The halving suits numbers whose digits are signs: 2n = +-1 +-2 +-4 ... plus a constant.
// Initiation interval: 1 cycle. Latency: that of a bf_adder_tree of PAIRS operands, and with an offset PLANES cycles
// more; `extra` arrives when the tree is done.
//
// Lanes come in pairs, as v0 + v1 and v0 - v1: a four-input function of one bit of each and of the two signs is a bit
// of +-v0 +-v1, except for the 1 that completes a negation. That 1 is a carry bit.
`default_nettype none

module bf_sign_planes #(
    parameter  int PAIRS            = 4,
    parameter  int WIDTH            = 9,  // bits of a sum or difference, signed
    parameter  int PLANES           = 1,
    parameter  int OFFSET_BITS      = 0,  // bits of `extra`, signed; 0: none
    parameter  int ADDERS_PER_STAGE = 2,  // adders between two registers
    localparam int EXTRA            = OFFSET_BITS > 0 ? OFFSET_BITS : 1,
    localparam int TREE             = WIDTH + $clog2(PAIRS),
    localparam int HIGH             = (TREE > EXTRA ? TREE : EXTRA) + 1,
    localparam int OUT              = OFFSET_BITS > 0 ? HIGH + PLANES - 2 : TREE
) (
    input  wire logic                           clk,
    input  wire logic [        PAIRS*WIDTH-1:0] sums,
    input  wire logic [        PAIRS*WIDTH-1:0] differences,
    input  wire logic [PLANES-1:0][2*PAIRS-1:0] negative,     // lane is subtracted, in each plane
    input  wire logic [              EXTRA-1:0] extra,
    output      logic [                OUT-1:0] total,
    output      logic                           carry
);
`ifndef __ICARUS__
  if (OFFSET_BITS == 0 && PLANES != 1) begin : g_bad_planes
    $error("bf_sign_planes: several planes need `extra`");
  end
`endif

  logic [PLANES-1:0][TREE-1:0] sum;
  logic [PLANES-1:0] sum_carry;
  for (genvar b = 0; b < PLANES; b++) begin : g_plane
    logic [PAIRS-1:0][WIDTH-1:0] pair;
    logic [PAIRS-1:0] one;
    for (genvar i = 0; i < PAIRS; i++) begin : g_pair
      logic first, second;
      assign first   = negative[b][2*i];
      assign second  = negative[b][2*i+1];
      assign one[i]  = first;
      assign pair[i] = {WIDTH{first}} ^ (first == second ? sums[i*WIDTH+:WIDTH] : differences[i*WIDTH+:WIDTH]);
    end

    bf_adder_tree #(
        .COUNT (PAIRS),
        .WIDTH (WIDTH),
        .SIGNED(1),
        .ADDERS_PER_STAGE (ADDERS_PER_STAGE)
    ) tree (
        .clk,
        .operands (pair),
        .carry    (one),
        .sum      (sum[b]),
        .carry_out(sum_carry[b])
    );
  end

  if (OFFSET_BITS == 0) begin : g_alone
    assign total = sum;
    assign carry = sum_carry;
  end else begin : g_chain
    // Plane b joins in step b; the bits below its weight are done and only wait.
    for (genvar b = 0; b < PLANES; b++) begin : g_step
      logic [HIGH-1:0] above;  // what has come so far, in units of this plane's weight
      logic [TREE:0] plane;
      logic [HIGH-1:0] high;
      logic [PLANES-1:0] low, low_next;  // bit b: of half the weight of plane b
      if (b == 0) begin : g_first
        assign above    = HIGH'($signed(extra));
        assign low_next = '0;
      end else begin : g_next
        assign above = HIGH'($signed(g_step[b-1].high[HIGH-1:1]));
        always_comb begin
          low_next    = g_step[b-1].low;
          low_next[b] = g_step[b-1].high[0];
        end
      end
      bf_delay #(
          .WIDTH (TREE + 1),
          .CYCLES(b)
      ) wait_for_step (
          .clk,
          .d({sum[b], sum_carry[b]}),
          .q(plane)
      );
      logic [HIGH:0] added;
      assign added = {HIGH'($signed(plane[TREE:1])), plane[0]} + {above, plane[0]};
      always_ff @(posedge clk) begin
        high <= added[HIGH:1];
        low  <= low_next;
      end
    end
    assign carry = 1'b0;
    assign total = OUT'({g_step[PLANES-1].high, g_step[PLANES-1].low} >> 2);
  end
endmodule
