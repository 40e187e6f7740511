// Parity check of words with odd parity: `parity_error` is high for one cycle for each `used` word whose number of ones
// is even. (An all-zero word is therefore an error, too.) A tree of 16-input exclusive-ors with a register at each
// level.
// Initiation interval: 1 cycle. Latency from `word` to `parity_error`: 1 + max(1, ceil(log16(WIDTH))) cycles.
`default_nettype none

module bf_parity #(
    parameter int WIDTH = 9  // bits of a word with its parity bit
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             used,
    input  wire logic [WIDTH-1:0] word,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic             parity_error
);
  function automatic int nodes(input int level);
    nodes = WIDTH;
    for (int i = 0; i < level; i++) nodes = (nodes + 15) / 16;
  endfunction
  function automatic int depth();
    depth = 1;
    for (int reach = 16; reach < WIDTH; reach = 16 * reach) depth++;
  endfunction
  localparam int LEVELS = depth();

  logic [LEVELS:0] counts;  // bit i: a word that was used i cycles ago
  logic [LEVELS:1] counts_q;
  assign counts = {counts_q, used};
  always_ff @(posedge clk) begin
    counts_q     <= rst ? '0 : counts[LEVELS-1:0];
    parity_error <= !rst && counts[LEVELS] && !g_level[LEVELS].odd[0];
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
