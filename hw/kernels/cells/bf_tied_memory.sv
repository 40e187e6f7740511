// Read-only memory of words of which much repeats: a table of different words, an index that says which of them a word
// is, and wires from the table's bits to the word's. Bit b of the word is bit SOURCES[b] >> 1 of the table's word, or
// its complement where SOURCES[b] is odd; bit TABLE_BITS stands for 0. Initiation interval: 1 cycle. Latency from `addr`
// to `data`: LATENCY cycles, of which the table takes TABLE_LATENCY and the index the others.
`default_nettype none

module bf_tied_memory #(
    parameter  int                  WIDTH           = 8,        // bits of a word
    parameter  int                  DEPTH           = 16,       // words
    parameter  int                  LATENCY         = 2,
    parameter  int                  TABLE_BITS      = 4,        // bits of a word of the table
    parameter  int                  TABLE_WORDS     = 16,       // DEPTH: no index; else a power of two below it
    parameter  logic [WIDTH*32-1:0] SOURCES         = '0,       // bit 0 of the word in the low bits
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
    localparam int                  ADDR            = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic [ ADDR-1:0] addr,   // below DEPTH
    input  wire logic             used,   // the word is used, LATENCY cycles after its address
    output      logic [WIDTH-1:0] data,
    // high for one cycle for each word used with a parity error in the table or the index
    output      logic             parity_error
);
  localparam int TABLE_LATENCY = TABLE_WORDS > 2048 ? 3 : 2;
  localparam int ENTRY = TABLE_WORDS > 1 ? $clog2(TABLE_WORDS) : 1;
  logic [TABLE_BITS+TABLE_PARITY-1:0] stored;
  logic [TABLE_BITS:0] columns;
  logic [ENTRY-1:0] entry;
  logic index_error, table_error;

  if (TABLE_WORDS == DEPTH) begin : g_direct
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
  for (genvar b = 0; b < WIDTH; b++) begin : g_wire
    localparam int SOURCE = int'(SOURCES[b*32+:32]);
    localparam int COLUMN = SOURCE / 2;
    assign data[b] = columns[COLUMN] ^ (SOURCE % 2 != 0);
  end
endmodule
