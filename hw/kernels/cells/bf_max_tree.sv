// Tree of comparators: the largest of COUNT values and its index, the lowest index on a tie. The values are unsigned or
// in offset binary. A register behind each level. Latency: ceil(log2(COUNT)) cycles.
`default_nettype none

module bf_max_tree #(
    parameter int COUNT      = 10,
    parameter int BITS       = 8,
    parameter int INDEX_BITS = 4
) (
    input  wire logic                       clk,
    input  wire logic [COUNT-1:0][BITS-1:0] values,
    output      logic [BITS-1:0]            value,
    output      logic [INDEX_BITS-1:0]      index
);
  localparam int LEVELS = $clog2(COUNT);

  // Neighbours meet; the later one wins only if it is greater. (Written with >=, which is a carry chain on ECP5; for >
  // Yosys adds an equality in lookup tables.)
  for (genvar level = 0; level <= LEVELS; level++) begin : g_level
    localparam int NODES = (COUNT + (1 << level) - 1) >> level;
    logic [BITS-1:0] best[NODES];
    logic [INDEX_BITS-1:0] at[NODES];
    if (level == 0) begin : g_input
      for (genvar i = 0; i < COUNT; i++) begin : g_lane
        assign best[i] = values[i];
        assign at[i]   = INDEX_BITS'(i);
      end
    end else begin : g_meet
      localparam int BELOW = (COUNT + (1 << (level - 1)) - 1) >> (level - 1);
      for (genvar i = 0; i < NODES; i++) begin : g_node
        if (2 * i + 1 < BELOW) begin : g_pair
          logic later;
          assign later = !(g_level[level-1].best[2*i] >= g_level[level-1].best[2*i+1]);
          always_ff @(posedge clk) begin
            best[i] <= later ? g_level[level-1].best[2*i+1] : g_level[level-1].best[2*i];
            at[i]   <= later ? g_level[level-1].at[2*i+1] : g_level[level-1].at[2*i];
          end
        end else begin : g_odd
          always_ff @(posedge clk) begin
            best[i] <= g_level[level-1].best[2*i];
            at[i]   <= g_level[level-1].at[2*i];
          end
        end
      end
    end
  end
  assign value = g_level[LEVELS].best[0];
  assign index = g_level[LEVELS].at[0];
endmodule
