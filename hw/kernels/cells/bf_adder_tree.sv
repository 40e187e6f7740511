// Sum of COUNT operands; each operand may bring a carry bit: sum + carry_out == sum of operands + sum of carry bits.
// Initiation interval: 1 cycle. Latency: max(1, ceil(levels / ADDERS_PER_STAGE)) cycles, levels = ceil(log2(COUNT)).
//
// An adder takes one carry bit for the cost of one more bit in its carry chain, {a, c} + {b, c}. Each of the COUNT - 1
// adders takes one, and one carry bit remains.
`default_nettype none

module bf_adder_tree #(
    parameter  int COUNT            = 8,  // operands
    parameter  int WIDTH            = 4,  // bits of an operand
    parameter  int SIGNED           = 0,  // 1: operands and sum are two's complement
    parameter  int CARRY            = 1,  // 0: carry bits are left out
    parameter  int ADDERS_PER_STAGE = 2,  // adders between two registers
    localparam int LEVELS           = $clog2(COUNT),
    localparam int OUT              = WIDTH + LEVELS
) (
    input  wire logic                   clk,
    input  wire logic [COUNT*WIDTH-1:0] operands,
    input  wire logic [      COUNT-1:0] carry,
    output      logic [        OUT-1:0] sum,
    output      logic                   carry_out
);
  // Level l has ceil(COUNT / 2^l) operands of WIDTH + l bits; each keeps one carry bit not yet added.
  for (genvar l = 0; l <= LEVELS; l++) begin : g_level
    localparam int N = (COUNT + (1 << l) - 1) >> l;
    localparam int B = WIDTH + l;
    logic [N-1:0][B-1:0] value, value_q;
    logic [N-1:0] pending, pending_q;

    if (l == 0) begin : g_operands
      assign value   = operands;
      assign pending = CARRY != 0 ? carry : '0;
    end else begin : g_adders
      localparam int BEFORE = (COUNT + (1 << (l - 1)) - 1) >> (l - 1);
      for (genvar i = 0; i < N; i++) begin : g_adder
        logic [B-2:0] a;
        logic [B-1:0] a_wide;
        assign a      = g_level[l-1].value_q[2*i];
        assign a_wide = {SIGNED != 0 && a[B-2], a};
        if (2 * i + 1 < BEFORE) begin : g_add
          logic [B-2:0] b;
          logic [B-1:0] b_wide;
          assign b      = g_level[l-1].value_q[2*i+1];
          assign b_wide = {SIGNED != 0 && b[B-2], b};
          if (CARRY != 0) begin : g_carry
            logic c, unused;
            assign c                  = g_level[l-1].pending_q[2*i];
            assign {value[i], unused} = {a_wide, c} + {b_wide, c};
            assign pending[i] = g_level[l-1].pending_q[2*i+1];
          end else begin : g_plain
            assign value[i]   = a_wide + b_wide;
            assign pending[i] = 1'b0;
          end
        end else begin : g_pass
          assign value[i]   = a_wide;
          assign pending[i] = g_level[l-1].pending_q[2*i];
        end
      end
    end

    if (l == LEVELS || (l > 0 && l % ADDERS_PER_STAGE == 0)) begin : g_register
      always_ff @(posedge clk) begin
        value_q   <= value;
        pending_q <= pending;
      end
    end else begin : g_wire
      assign value_q   = value;
      assign pending_q = pending;
    end
  end
  assign sum       = g_level[LEVELS].value_q;
  assign carry_out = g_level[LEVELS].pending_q;
endmodule
