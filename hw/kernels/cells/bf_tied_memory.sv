// Read-only memory of words of which much repeats: a table of different words, an index that says which of them a word
// is, and wires from the table's bits to the word's. Bit b of the word is bit SOURCES[b] >> 1 of the table's word, or
// its complement where SOURCES[b] is odd; bit TABLE_BITS stands for 0. Initiation interval: 1 cycle. Latency from `addr`
// to `data`: LATENCY cycles, of which the table takes TABLE_LATENCY and the index the others.
//
// With LOOP_WORDS, words follow one another in the loops of bf_tied_address, which takes the place of the index, and
// have TURNS turns: TURNED bits, of which bit c in turn k is bit TURN_SOURCES[k][c] >> 1 of the table's word, as above,
// are in the place of the table's. Several turns take another cycle behind the table.
//
// With CODE_BITS, all this makes a word of codes, each of which is decoded in another cycle: word CODES[code] of W_BITS.
`default_nettype none

module bf_tied_memory #(
    parameter  int                  WIDTH           = 8,        // bits of a word
    parameter  int                  DEPTH           = 16,       // words
    parameter  int                  LATENCY         = 2,
    parameter  int                  TABLE_BITS      = 4,        // bits of a word of the table
    parameter  int                  TABLE_WORDS     = 16,       // DEPTH: no index; else a power of two below it
    parameter  int                  CODE_BITS       = 0,        // 0: no codes
    parameter  int                  W_BITS          = 1,        // bits of what a code stands for
    localparam int                  WIRES           = CODE_BITS > 0 ? WIDTH / W_BITS * CODE_BITS : WIDTH,
    parameter  logic [WIRES*32-1:0] SOURCES         = '0,       // bit 0 of the word in the low bits
    parameter                       TABLE           = "table",  // stems of the files
    parameter                       INDEX           = "index",
    parameter  logic [127:0]        STYLE           = "logic",  // table: memory and tiles as in bf_weight_memory
    parameter  int                  ROW             = 16,
    parameter  int                  BITS            = 4,
    parameter  int                  LAST_BITS       = 4,
    parameter  int                  TABLE_PARITY    = 0,        // 1: a parity bit above the bits of a word
    parameter  logic [127:0]        INDEX_STYLE     = "logic",  // index: the same
    parameter  int                  INDEX_ROW       = 16,
    parameter  int                  INDEX_BITS      = 4,
    parameter  int                  INDEX_LAST_BITS = 4,
    parameter  int                  INDEX_PARITY    = 0,
    parameter  int                  LOOP_WORDS      = 0,        // words of a phase; 0: no loops
    parameter  int                  LOOP_FIRST      = 1,
    parameter  int                  LOOP_INNER      = 1,
    parameter  int                  LOOP_LAST       = 1,
    parameter                       LOOP_PLAN       = 64'd0,    // for each phase, base and turn of 32 bits each
    parameter  int                  TURNS           = 1,
    parameter  int                  TURNED          = 1,
    parameter                       TURN_SOURCES    = 32'd0,    // for each turn, and in it each bit, 32 bits
    parameter                       CODES           = 32'd0,    // for each code 32 bits
    localparam int                  ADDR            = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic [ ADDR-1:0] addr,   // below DEPTH
    input  wire logic             step,   // the next address follows; used by loops only
    input  wire logic             used,   // the word is used: at the cycle in which the table has been read
    output      logic [WIDTH-1:0] data,
    // high for one cycle for each word used with a parity error in the table or the index
    output      logic             parity_error
);
  localparam int TABLE_LATENCY = TABLE_WORDS > 2048 ? 3 : 2;
  localparam int ENTRY = TABLE_WORDS > 1 ? $clog2(TABLE_WORDS) : 1;
  logic [TABLE_BITS+TABLE_PARITY-1:0] stored;
  logic [TABLE_BITS:0] columns;
  localparam int TURN = TURNS > 1 ? $clog2(TURNS) : 1;
  logic [ENTRY-1:0] entry;
  logic [TURN-1:0] turn;
  logic index_error, table_error;

  if (LOOP_WORDS > 0) begin : g_loops
    logic [TURN-1:0] now;
    bf_tied_address #(
        .WORDS(LOOP_WORDS),
        .FIRST(LOOP_FIRST),
        .INNER(LOOP_INNER),
        .LAST (LOOP_LAST),
        .ENTRY(ENTRY),
        .TURN (TURN),
        .PLAN (LOOP_PLAN)
    ) address (
        .clk,
        .rst,
        .step,
        .entry,
        .turn(now)
    );
    bf_delay #(
        .WIDTH (TURN),
        .CYCLES(TABLE_LATENCY)
    ) wait_for_table (
        .clk,
        .d(now),
        .q(turn)
    );
    assign index_error = 1'b0;
  end else if (TABLE_WORDS == DEPTH) begin : g_direct
    assign entry = addr;
    assign index_error = 1'b0;
  end else begin : g_index
    logic [ENTRY+INDEX_PARITY-1:0] read;
    bf_weight_memory #(
        .WIDTH    (ENTRY + INDEX_PARITY),
        .DEPTH    (DEPTH),
        .LATENCY  (LATENCY - TABLE_LATENCY),
        .STEM     (INDEX),
        .STYLE    (INDEX_STYLE),
        .ROW      (INDEX_ROW),
        .BITS     (INDEX_BITS),
        .LAST_BITS(INDEX_LAST_BITS)
    ) index (
        .clk,
        .addr,
        .data(read)
    );
    assign entry = read[ENTRY-1:0];
    if (INDEX_PARITY != 0) begin : g_parity
      logic [ENTRY:0] held;  // until the table has been read
      bf_delay #(
          .WIDTH (ENTRY + 1),
          .CYCLES(TABLE_LATENCY)
      ) wait_for_table (
          .clk,
          .d(read),
          .q(held)
      );
      bf_parity #(
          .WIDTH(ENTRY + 1)
      ) check (
          .clk,
          .rst,
          .used,
          .word(held),
          .parity_error(index_error)
      );
    end else begin : g_no_parity
      assign index_error = 1'b0;
    end
  end

  bf_weight_memory #(
      .WIDTH    (TABLE_BITS + TABLE_PARITY),
      .DEPTH    (TABLE_WORDS),
      .LATENCY  (TABLE_LATENCY),
      .STEM     (TABLE),
      .STYLE    (STYLE),
      .ROW      (ROW),
      .BITS     (BITS),
      .LAST_BITS(LAST_BITS)
  ) words (
      .clk,
      .addr(entry),
      .data(stored)
  );
  if (TABLE_PARITY != 0) begin : g_parity
    bf_parity #(
        .WIDTH(TABLE_BITS + 1)
    ) check (
        .clk,
        .rst,
        .used,
        .word(stored),
        .parity_error(table_error)
    );
  end else begin : g_no_parity
    assign table_error = 1'b0;
  end
  assign parity_error = index_error || table_error;

  assign columns = {1'b0, stored[TABLE_BITS-1:0]};
  localparam int COLUMNS = TURNS > 1 ? TURNED : TABLE_BITS;
  logic [COLUMNS:0] turned;
  if (TURNS > 1) begin : g_turns
    logic [TURNED-1:0] bits;
    for (genvar c = 0; c < TURNED; c++) begin : g_column
      logic [TURNS-1:0] choices;
      for (genvar k = 0; k < TURNS; k++) begin : g_turn
        localparam int SOURCE = int'(TURN_SOURCES[(k*TURNED+c)*32+:32]);
        localparam int COLUMN = SOURCE / 2;
        assign choices[k] = columns[COLUMN] ^ (SOURCE % 2 != 0);
      end
      always_ff @(posedge clk) bits[c] <= choices[turn];
    end
    assign turned = {1'b0, bits};
  end else begin : g_no_turns
    assign turned = columns;
  end
  localparam int LANES = CODE_BITS > 0 ? WIDTH / W_BITS : 0;
  logic [WIRES-1:0] wired;
  for (genvar b = 0; b < WIRES; b++) begin : g_wire
    localparam int SOURCE = int'(SOURCES[b*32+:32]);
    localparam int COLUMN = SOURCE / 2;
    assign wired[b] = turned[COLUMN] ^ (SOURCE % 2 != 0);
  end
  if (CODE_BITS > 0) begin : g_decode
    for (genvar b = 0; b < W_BITS; b++) begin : g_bit
      logic [2**CODE_BITS-1:0] truth;
      for (genvar c = 0; c < 2 ** CODE_BITS; c++) begin : g_code
        assign truth[c] = CODES[c*32+b];
      end
      for (genvar l = 0; l < LANES; l++) begin : g_lane
        always_ff @(posedge clk) data[l*W_BITS+b] <= truth[wired[l*CODE_BITS+:CODE_BITS]];
      end
    end
  end else begin : g_no_codes
    assign data = wired;
  end
endmodule
