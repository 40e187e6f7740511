// Read-only memory with no more latency than its size asks for. Initiation interval: 1. Latency from `addr`
// to `data`: none with one word, which is constant; 1 cycle up to SMALL words, always in lookup tables; else
// 2 (`bf_rom`). It does not hang on STYLE, so that a design has the same cycles in every family.
`default_nettype none

module bf_lookup #(
    parameter int    WIDTH = 8,          // bits of a word
    parameter int    DEPTH = 16,         // words
    parameter int    SMALL = 64,         // words of the largest memory that answers in 1 cycle
    parameter string FILE  = "rom.hex",  // contents, one word a line as $readmemh reads them
    parameter string STYLE = "logic",    // "logic" or "block", above SMALL words
    localparam int   ADDR  = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic [ ADDR-1:0] addr,  // below DEPTH; anything when DEPTH is 1
    output      logic [WIDTH-1:0] data
);
  if (DEPTH > SMALL) begin : g_large
    bf_rom #(
        .WIDTH(WIDTH),
        .DEPTH(DEPTH),
        .FILE (FILE),
        .STYLE(STYLE)
    ) memory (
        .clk,
        .addr,
        .data
    );
  end else begin : g_small
    if (STYLE != "logic") begin : g_bad_style
      $error("bf_lookup: a memory of at most SMALL words is in lookup tables");
    end
    (* rom_style = "logic", ram_style = "logic" *) logic [WIDTH-1:0] mem[DEPTH];
    initial $readmemh(FILE, mem);
    if (DEPTH == 1) begin : g_constant
      assign data = mem[0];
    end else begin : g_table
      always_ff @(posedge clk) data <= mem[addr];
    end
  end
endmodule
