// Parity check of words that carry a parity bit: `parity_error` is high for a cycle after a word that is `used` whose ones are an
// even number. (So a memory that has gone to zeros is noticed, too.) It is a tree of exclusive-ors of 16, with a register
// on each level. Initiation interval: 1. Latency from `word` to `parity_error`: 1 cycle + levels of the tree.
`default_nettype none

module bf_parity #(
    parameter int WIDTH = 9  // bits of a word with its parity bit
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             used,
    input  wire logic [WIDTH-1:0] word,
    output      logic             parity_error
);
  function automatic int nodes(input int level);
    int count;
    count = WIDTH;
    for (int i = 0; i < level; i++) count = (count + 15) / 16;
    return count;
  endfunction
  function automatic int depth();
    int levels;
    levels = 1;
    while (nodes(levels) > 1) levels++;
    return levels;
  endfunction
  localparam int LEVELS = depth();

  logic [LEVELS:0] counts;
  assign counts[0] = used;
  always_ff @(posedge clk) begin
    counts[LEVELS:1] <= rst ? '0 : counts[LEVELS-1:0];
    parity_error            <= !rst && counts[LEVELS] && !g_level[LEVELS].odd[0];
  end
  for (genvar level = 0; level <= LEVELS; level++) begin : g_level
    logic [nodes(level)-1:0] odd;
    if (level == 0) begin : g_word
      assign odd = word;
    end else begin : g_tree
      for (genvar i = 0; i < nodes(level); i++) begin : g_node
        localparam int COUNT = 16 * (i + 1) <= nodes(level - 1) ? 16 : nodes(level - 1) - 16 * i;
        always_ff @(posedge clk) odd[i] <= ^g_level[level-1].odd[16*i+:COUNT];
      end
    end
  end
endmodule
