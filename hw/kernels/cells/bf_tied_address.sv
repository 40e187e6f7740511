// Address of a table of words that are used several times, in turns, in four loops. From the innermost: LAST iterations,
// INNER, FIRST, and as many as make WORDS with INNER. The iterations of FIRST and LAST are the phase: FIRST * LAST
// phases. Word i = 0 .. WORDS - 1 of a phase is word `base + i` of the table in turn `turn`, with the base and the turn
// that PLAN states for the phase. Initiation interval: 1 cycle. Latency from `step`, with which the next word follows,
// to `entry` and `turn` of it: 2 cycles.
`default_nettype none

module bf_tied_address #(
    parameter int                         WORDS = 16,  // words of each phase
    parameter int                         FIRST = 1,
    parameter int                         INNER = 16,
    parameter int                         LAST  = 2,
    parameter int                         ENTRY = 4,   // bits of an address
    parameter int                         TURN  = 1,   // bits of a turn
    // For each phase 64 bits: base, and above it turn. Phase FIRST's iteration times LAST plus LAST's.
    parameter logic [FIRST*LAST*64-1:0] PLAN  = '0
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             step,
    output      logic [ENTRY-1:0] entry,
    output      logic [ TURN-1:0] turn
);
  localparam int WORD = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam int F = FIRST > 1 ? $clog2(FIRST) : 1;
  localparam int I = INNER > 1 ? $clog2(INNER) : 1;
  localparam int L = LAST > 1 ? $clog2(LAST) : 1;
  logic [F-1:0] first;
  logic [I-1:0] inner;
  logic [L-1:0] last;
  logic [WORD-1:0] word, row;  // the word, and the one at which the loop INNER begins
  logic first_ends, inner_ends, last_ends;
  assign first_ends = first == F'(FIRST - 1);
  assign inner_ends = inner == I'(INNER - 1);
  assign last_ends  = last == L'(LAST - 1);

  always_ff @(posedge clk) begin
    if (rst) begin
      first <= '0;
      inner <= '0;
      last  <= '0;
      word  <= '0;
      row   <= '0;
    end else if (step) begin
      last <= last_ends ? '0 : last + L'(1);
      if (last_ends) begin
        inner <= inner_ends ? '0 : inner + I'(1);
        if (inner_ends && first_ends) row <= word == WORD'(WORDS - 1) ? '0 : word + WORD'(1);
        if (inner_ends) first <= first_ends ? '0 : first + F'(1);
        if (inner_ends && !first_ends) word <= row;
        else word <= word == WORD'(WORDS - 1) ? '0 : word + WORD'(1);
      end
    end
  end

  // The plan of all pairs of the two loops' counters; those that do not occur are 0.
  logic [2**(F+L)-1:0][ENTRY-1:0] bases;
  logic [2**(F+L)-1:0][TURN-1:0] turns;
  for (genvar p = 0; p < 2 ** (F + L); p++) begin : g_phase
    localparam int ITS_FIRST = p / 2 ** L;
    localparam int ITS_LAST = p % 2 ** L;
    if (ITS_FIRST < FIRST && ITS_LAST < LAST) begin : g_used
      localparam int BASE = int'(PLAN[(ITS_FIRST*LAST+ITS_LAST)*64+:32]);
      localparam int NUMBER = int'(PLAN[(ITS_FIRST*LAST+ITS_LAST)*64+32+:32]);
      assign bases[p] = ENTRY'(BASE);
      assign turns[p] = TURN'(NUMBER);
    end else begin : g_unused
      assign bases[p] = '0;
      assign turns[p] = '0;
    end
  end
  always_ff @(posedge clk) begin
    entry <= bases[{first, last}] + ENTRY'(word);
    turn  <= turns[{first, last}];
  end
endmodule
