// Read-only memory. Initiation interval: 1. Latency: 2 cycles from `addr` to `data`.
// The second register stands where it shortens the path: behind a block RAM, whose output comes late,
// or before the lookup tables, where it is only the address.
`default_nettype none

module bf_rom #(
    parameter int    WIDTH = 8,          // bits of a word
    parameter int    DEPTH = 16,         // words
    parameter string FILE  = "rom.hex",  // contents, one word a line as $readmemh reads them
    parameter string STYLE = "logic",    // "logic": lookup tables; "block": block RAM
    localparam int   ADDR  = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic [ ADDR-1:0] addr,  // below DEPTH; anything when DEPTH is 1
    output      logic [WIDTH-1:0] data
);
  if (STYLE != "logic" && STYLE != "block") begin : g_bad_style
    $error("bf_rom: STYLE must be logic or block");
  end

  (* rom_style = STYLE, ram_style = STYLE *) logic [WIDTH-1:0] mem[DEPTH];
  initial $readmemh(FILE, mem);

  if (DEPTH == 1) begin : g_constant
    assign data = mem[0];
  end else if (STYLE == "block") begin : g_block
    logic [WIDTH-1:0] read;
    always_ff @(posedge clk) begin
      read <= mem[addr];
      data <= read;
    end
  end else begin : g_logic
    logic [ADDR-1:0] addr_q;
    always_ff @(posedge clk) begin
      addr_q <= addr;
      data   <= mem[addr_q];
    end
  end
endmodule
