// Gowin block RAM of 18 kbit. Widths of 9, 18 and 36 use all of it (X9), the others 16 kbit. Words lie one after the
// other, the lowest bit first; INIT is all INIT_RAM_<n> in a row. The low address bits, which do not choose a word, are
// write enables of its bytes for two bytes and more. Write modes: 0 the output stays, 1 it shows the new word, 2 the
// old one. A port that reads what the other one writes in the same cycle gets the complement of the old word: a
// design must not depend on it. One clock is assumed for that.
`default_nettype none

// One port's geometry: which bits of the memory a word of WIDTH bits at `address` is, and which of them are written.
package gowin_bram;
  function automatic int first(input int width, input logic [13:0] address);
    case (width)
      1: first = int'(address);
      2: first = int'(address[13:1]) * 2;
      4: first = int'(address[13:2]) * 4;
      8, 9: first = int'(address[13:3]) * width;
      16, 18: first = int'(address[13:4]) * width;
      default: first = int'(address[13:5]) * width;
    endcase
  endfunction
  function automatic logic [35:0] mask(input int width, input logic [13:0] address);
    mask = ~(36'hfffffffff << width);
    if (width == 18) mask = {18'd0, {9{address[1]}}, {9{address[0]}}};
    if (width == 16) mask = {20'd0, {8{address[1]}}, {8{address[0]}}};
    if (width == 36) mask = {{9{address[3]}}, {9{address[2]}}, {9{address[1]}}, {9{address[0]}}};
    if (width == 32) mask = {4'd0, {8{address[3]}}, {8{address[2]}}, {8{address[1]}}, {8{address[0]}}};
  endfunction
endpackage

// Two ports on one memory; every kind of block RAM is made of it. A port without writes has its `write` low.
module BSRAM #(
    parameter int             BITS         = 18432,
    parameter int             WIDTH_A      = 36,
    parameter int             WIDTH_B      = 36,
    parameter int             WRITE_MODE_A = 0,
    parameter int             WRITE_MODE_B = 0,
    parameter                 RESET_MODE   = "SYNC",
    parameter logic [BITS-1:0] INIT        = '0
) (
    input  wire logic        CLKA,
    input  wire logic        CEA,
    input  wire logic        WREA,
    input  wire logic        RESETA,
    input  wire logic [13:0] ADA,
    input  wire logic [35:0] DIA,
    output      logic [35:0] DOA,
    input  wire logic        CLKB,
    input  wire logic        CEB,
    input  wire logic        WREB,
    input  wire logic        RESETB,
    input  wire logic [13:0] ADB,
    input  wire logic [35:0] DIB,
    output      logic [35:0] DOB
);
  // Rows of 32 or 36 bits: no word crosses them.
  localparam int ROW = BITS / 512;
  logic [ROW-1:0] mem[512];
  initial for (int i = 0; i < 512; i++) mem[i] = INIT[ROW*i+:ROW];

  logic [8:0] row_a, row_b;
  logic [5:0] at_a, at_b;
  logic [ROW-1:0] mask_a, mask_b, old_a, old_b, new_a, new_b, clash_a, clash_b;
  logic write_a, write_b;
  assign write_a = CEA && WREA;
  assign write_b = CEB && WREB;
  always_comb begin
    int place;
    place  = gowin_bram::first(WIDTH_A, ADA);
    row_a  = 9'(place / ROW);
    at_a   = 6'(place % ROW);
    place  = gowin_bram::first(WIDTH_B, ADB);
    row_b  = 9'(place / ROW);
    at_b   = 6'(place % ROW);
    mask_a = ROW'(gowin_bram::mask(WIDTH_A, ADA)) << at_a;
    mask_b = ROW'(gowin_bram::mask(WIDTH_B, ADB)) << at_b;
    old_a  = mem[row_a];
    old_b  = mem[row_b];
    new_a  = (old_a & ~mask_a) | (ROW'(DIA) << at_a & mask_a);
    new_b  = (old_b & ~mask_b) | (ROW'(DIB) << at_b & mask_b);
    clash_a = {ROW{write_b && row_a == row_b}} & mask_b;
    clash_b = {ROW{write_a && row_a == row_b}} & mask_a;
  end

  logic [35:0] read_a, read_b;
  initial {read_a, read_b} = '0;
  assign DOA = RESET_MODE == "ASYNC" && RESETA ? '0 : read_a;
  assign DOB = RESET_MODE == "ASYNC" && RESETB ? '0 : read_b;

  function automatic logic [35:0] cut(input int width, input logic [5:0] at, input logic [ROW-1:0] row);
    cut = 36'(row >> at) & ~(36'hfffffffff << width);
  endfunction
  always @(posedge CLKA) begin
    if (write_a) mem[row_a] <= new_a;
    if (RESETA) read_a <= '0;
    else if (CEA) begin
      if (!WREA) read_a <= cut(WIDTH_A, at_a, old_a ^ clash_a);
      else if (WRITE_MODE_A == 1) read_a <= cut(WIDTH_A, at_a, new_a);
      else if (WRITE_MODE_A == 2) read_a <= cut(WIDTH_A, at_a, old_a);
    end
  end
  always @(posedge CLKB) begin
    if (write_b) mem[row_b] <= new_b;
    if (RESETB) read_b <= '0;
    else if (CEB) begin
      if (!WREB) read_b <= cut(WIDTH_B, at_b, old_b ^ clash_b);
      else if (WRITE_MODE_B == 1) read_b <= cut(WIDTH_B, at_b, new_b);
      else if (WRITE_MODE_B == 2) read_b <= cut(WIDTH_B, at_b, old_b);
    end
  end
endmodule
