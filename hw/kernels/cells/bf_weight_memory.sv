// Read-only memory of constants, cut into tiles of one block RAM each. Initiation interval: 1 cycle. Latency from
// `addr` to `data`: LATENCY cycles, 2 or 3. (3 cycles suit deep memories: there is a register before the multiplexer of
// the rows.)
//
// A row of tiles has ROW words, the last row the remaining ones. Tiles have BITS bits, in the last row LAST_BITS. The
// tiles of all rows, row by row and the low bits first, are in the files STEM<FIRST>.hex, STEM<FIRST + 1>.hex, ...; in
// lookup tables the whole memory is in the first file.
`default_nettype none

module bf_weight_memory #(
    parameter  int           WIDTH     = 8,        // bits of a word
    parameter  int           DEPTH     = 16,       // words
    parameter  int           LATENCY   = 2,        // 2 or 3
    parameter                STEM      = "weights",
    parameter  int           FIRST     = 0,
    parameter  logic [127:0] STYLE     = "logic",  // "logic": lookup tables; "block": block RAM
    parameter  int           ROW       = 16,       // a power of two, or DEPTH
    parameter  int           BITS      = 8,
    parameter  int           LAST_BITS = 8,
    localparam int           ADDR      = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic [ ADDR-1:0] addr,  // below DEPTH; anything when DEPTH is 1
    output      logic [WIDTH-1:0] data
);
  localparam bit DEEP = LATENCY == 3;
  localparam int ROWS = STYLE == "block" ? (DEPTH + ROW - 1) / ROW : 1;
  localparam bit HELD = DEEP && ROWS > 1;  // every row has a register before they are joined

  logic [ADDR-1:0] addr_q;
  bf_delay #(
      .WIDTH (ADDR),
      .CYCLES(DEEP && !HELD ? 1 : 0)
  ) wait_for_others (
      .clk,
      .d(addr),
      .q(addr_q)
  );

  if (STYLE != "block") begin : g_logic
    bf_rom #(
        .WIDTH(WIDTH),
        .DEPTH(DEPTH),
        .FILE (STEM),
        .INDEX(FIRST),
        .STYLE(STYLE)
    ) memory (
        .clk,
        .addr(addr_q),
        .data
    );
  end else begin : g_block
    localparam int SLICES = (WIDTH + BITS - 1) / BITS;
    localparam int WORD = ROW > 1 ? $clog2(ROW) : 1;
    logic [ROWS-1:0][WIDTH-1:0] read;
    for (genvar r = 0; r < ROWS; r++) begin : g_row
      localparam int WORDS = r < ROWS - 1 ? ROW : DEPTH - r * ROW;
      localparam int PART = r < ROWS - 1 ? BITS : LAST_BITS;
      localparam int OWN = WORDS > 1 ? $clog2(WORDS) : 1;
      for (genvar s = 0; s < (WIDTH + PART - 1) / PART; s++) begin : g_slice
        localparam int HERE = (s + 1) * PART <= WIDTH ? PART : WIDTH - s * PART;
        (* rom_style = "block", ram_style = "block" *) logic [HERE-1:0] mem[WORDS];
        initial $readmemh($sformatf("%s%0d.hex", STEM, FIRST + r * SLICES + s), mem);
        always_ff @(posedge clk) read[r][s*PART+:HERE] <= mem[addr_q[OWN-1:0]];
      end
    end
    if (ROWS == 1) begin : g_one_row
      always_ff @(posedge clk) data <= read[0];
    end else begin : g_rows
      logic [ADDR-WORD-1:0] row;
      logic [ROWS-1:0][WIDTH-1:0] held;
      bf_delay #(
          .WIDTH (ADDR - WORD),
          .CYCLES(HELD ? 2 : 1)
      ) wait_for_row (
          .clk,
          .d(addr[ADDR-1:WORD]),
          .q(row)
      );
      bf_delay #(
          .WIDTH (ROWS * WIDTH),
          .CYCLES(HELD ? 1 : 0)
      ) hold (
          .clk,
          .d(read),
          .q(held)
      );
      always_ff @(posedge clk) data <= held[row];
    end
  end
endmodule
