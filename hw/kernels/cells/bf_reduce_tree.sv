// Sum, maximum or bitwise or of COUNT parallel values, in each of LANES lanes: a tree with a register at each level.
// Initiation interval: 1 cycle. Latency: ceil(log2(COUNT)) cycles.
`default_nettype none

module bf_reduce_tree #(
    parameter int           COUNT     = 4,
    parameter int           LANES     = 1,
    parameter int           BITS      = 8,     // sums are right modulo 2^BITS
    parameter logic [127:0] OPERATION = "sum"  // sum, max, signed_max, or
) (
    input  wire logic                                       clk,
    input  wire logic [COUNT-1:0][LANES-1:0][BITS-1:0] values,
    output      logic            [LANES-1:0][BITS-1:0] result
);
  // Two's complement in offset binary. (Written with >=, which is a carry chain on ECP5.)
  localparam logic [BITS-1:0] OFFSET = OPERATION == "signed_max" ? BITS'(1) << (BITS - 1) : '0;
  function automatic logic [BITS-1:0] joined(input logic [BITS-1:0] a, input logic [BITS-1:0] b);
    if (OPERATION == "sum") joined = a + b;
    else if (OPERATION == "or") joined = a | b;
    else joined = (a ^ OFFSET) >= (b ^ OFFSET) ? a : b;
  endfunction

  // Level l has ceil(COUNT / 2^l) values.
  localparam int LEVELS = $clog2(COUNT);
  for (genvar l = 0; l <= LEVELS; l++) begin : g_level
    localparam int N = (COUNT + (1 << l) - 1) >> l;
    logic [N-1:0][LANES-1:0][BITS-1:0] value;
    if (l == 0) begin : g_values
      assign value = values;
    end else begin : g_join
      localparam int BEFORE = (COUNT + (1 << (l - 1)) - 1) >> (l - 1);
      for (genvar i = 0; i < N; i++) begin : g_value
        for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
          if (2 * i + 1 < BEFORE) begin : g_both
            always_ff @(posedge clk)
              value[i][lane] <= joined(g_level[l-1].value[2*i][lane], g_level[l-1].value[2*i+1][lane]);
          end else begin : g_one
            always_ff @(posedge clk) value[i][lane] <= g_level[l-1].value[2*i][lane];
          end
        end
      end
    end
  end
  assign result = g_level[LEVELS].value[0];

  if (LEVELS == 0) begin : g_wires
    logic unused;
    assign unused = clk;
  end
endmodule
