// Read-only memory for short latencies. Initiation interval: 1 cycle. Latency from `addr` to `data`: LATENCY cycles.
// LATENCY 0 holds one constant word. LATENCY 1 is always in lookup tables. LATENCY 2 is bf_rom. The size alone decides,
// and not STYLE, so that a design has the same cycles on every family.
`default_nettype none

module bf_lookup #(
    parameter  int           WIDTH   = 8,          // bits of a word
    parameter  int           DEPTH   = 16,         // words
    parameter  int           LATENCY = 1,          // 0: one word; 1: always lookup tables; 2: bf_rom
    // contents, one word a line as $readmemh reads them; with INDEX the stem of the name
    parameter                FILE    = "rom.hex",
    parameter  int           INDEX   = -1,         // of a file <FILE><INDEX>.hex
    parameter  logic [127:0] STYLE   = "logic",    // "logic" or "block", above SMALL words
    localparam int           ADDR    = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic [ ADDR-1:0] addr,  // below DEPTH; anything when DEPTH is 1
    output      logic [WIDTH-1:0] data
);
  if (LATENCY == 2) begin : g_large
    bf_rom #(
        .WIDTH(WIDTH),
        .DEPTH(DEPTH),
        .FILE (FILE),
        .INDEX(INDEX),
        .STYLE(STYLE)
    ) memory (
        .clk,
        .addr,
        .data
    );
  end else begin : g_small
`ifndef __ICARUS__
    if (STYLE != "logic") begin : g_bad_style
      $error("bf_lookup: LATENCY 2 is needed for block RAM");
    end
`endif
    (* rom_style = "logic", ram_style = "logic" *) logic [WIDTH-1:0] mem[DEPTH];
    initial begin
      if (INDEX < 0) $readmemh(FILE, mem);
      else $readmemh($sformatf("%s%0d.hex", FILE, INDEX), mem);
    end
    if (LATENCY == 0) begin : g_constant
      assign data = mem[0];
    end else begin : g_table
      always_ff @(posedge clk) data <= mem[addr];
    end
  end
endmodule
