// Read-only memory. Initiation interval: 1 cycle. Latency: 2 cycles from `addr` to `data`; none with DEPTH 1. The
// second register is where it shortens the critical path: after a block RAM, whose clock-to-output time is long, or
// before lookup tables, where it holds the address only.
`default_nettype none

module bf_rom #(
    parameter  int           WIDTH = 8,          // bits of a word
    parameter  int           DEPTH = 16,         // words
    // contents, one word a line as $readmemh reads them; with INDEX the stem of the name
    parameter                FILE  = "rom.hex",
    parameter  int           INDEX = -1,         // of a file <FILE><INDEX>.hex
    parameter  logic [127:0] STYLE = "logic",    // "logic": lookup tables; "block": block RAM
    localparam int           ADDR  = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic [ ADDR-1:0] addr,  // below DEPTH; anything when DEPTH is 1
    output      logic [WIDTH-1:0] data
);
`ifndef __ICARUS__
  if (STYLE != "logic" && STYLE != "block") begin : g_bad_style
    $error("bf_rom: STYLE must be logic or block");
  end
`endif

`ifndef __ICARUS__
  (* rom_style = string'(STYLE), ram_style = string'(STYLE) *)
`endif
  logic [WIDTH-1:0] mem[DEPTH];
  initial begin
    if (INDEX < 0) $readmemh(FILE, mem);
    else $readmemh($sformatf("%s%0d.hex", FILE, INDEX), mem);
  end

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
