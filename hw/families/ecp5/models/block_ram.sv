// ECP5 block RAM of 18 kbit: two ports of 1, 2, 4, 9 or 18 bits, or one to write (A) and one to read (B) where
// DATA_WIDTH_A is 36. INITVAL holds 1024 words of 18 bits, each padded to 20.
// In narrow widths a byte has 8 bits, the ninth is left out. Widths 18 and 36 have a write enable for every 9 bits in
// the low address bits. A port that reads what the other one writes in the same cycle gets the complement of the old
// word: the device promises nothing there, and a design must not depend on it. One clock is assumed for that.
`default_nettype none

module DP16KD #(
    parameter                 DATA_WIDTH_A        = 18,
    parameter                 DATA_WIDTH_B        = 18,
    parameter                 REGMODE_A           = "NOREG",
    parameter                 REGMODE_B           = "NOREG",
    parameter                 RESETMODE           = "SYNC",
    parameter                 ASYNC_RESET_RELEASE = "SYNC",
    parameter                 CSDECODE_A          = "0b000",
    parameter                 CSDECODE_B          = "0b000",
    parameter                 WRITEMODE_A         = "NORMAL",
    parameter                 WRITEMODE_B         = "NORMAL",
    parameter logic [20479:0] INITVAL             = '0
) (
    input  wire logic        CLKA,
    input  wire logic        CEA,
    input  wire logic        OCEA,
    input  wire logic        WEA,
    input  wire logic        RSTA,
    input  wire logic [ 2:0] CSA,
    input  wire logic [13:0] ADA,
    input  wire logic [17:0] DIA,
    output      logic [17:0] DOA,
    input  wire logic        CLKB,
    input  wire logic        CEB,
    input  wire logic        OCEB,
    input  wire logic        WEB,
    input  wire logic        RSTB,
    input  wire logic [ 2:0] CSB,
    input  wire logic [13:0] ADB,
    input  wire logic [17:0] DIB,
    output      logic [17:0] DOB
);
  localparam logic WIDE = DATA_WIDTH_A == 36;  // port A writes 36 bits, port B reads

  if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG") begin : g_register
    $error("no model of DP16KD with output registers");
  end
  if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") begin : g_select
    $error("no model of DP16KD with CSDECODE other than 0b000");
  end
  if (DATA_WIDTH_B == 36 && !WIDE) begin : g_read_only
    $error("no model of DP16KD with 36 bits on port B only");
  end

  logic [17:0] mem[1024];
  initial for (int i = 0; i < 1024; i++) mem[i] = INITVAL[20*i+:18];

  // Which of a word's 18 bits a port of `width` bits writes at an address.
  function automatic logic [17:0] mask(input int width, input logic [13:0] address);
    int base;
    base = address[3] ? 9 : 0;
    case (width)
      1: mask = 18'd1 << (base + int'(address[2:0]));
      2: mask = 18'd3 << (base + 2 * int'(address[2:1]));
      4: mask = 18'd15 << (base + 4 * int'(address[2]));
      9: mask = 18'h1ff << base;
      default: mask = {{9{address[1]}}, {9{address[0]}}};
    endcase
  endfunction
  // A port's data repeated over the word, so that the mask picks its place.
  function automatic logic [17:0] spread(input int width, input logic [17:0] data);
    case (width)
      1: spread = {18{data[0]}};
      2: spread = {2{1'b0, {4{data[1:0]}}}};
      4: spread = {2{1'b0, {2{data[3:0]}}}};
      9: spread = {2{data[8:0]}};
      default: spread = data;
    endcase
  endfunction
  // What a port of `width` bits reads of a word.
  function automatic logic [17:0] pick(input int width, input logic [13:0] address, input logic [17:0] word);
    logic [8:0] half;
    half = address[3] ? word[17:9] : word[8:0];
    case (width)
      1: pick = 18'(half[address[2:0]]);
      2: pick = 18'(half[{address[2:1], 1'b0}+:2]);
      4: pick = 18'(half[{address[2], 2'b00}+:4]);
      9: pick = 18'(half);
      default: pick = word;
    endcase
  endfunction

  logic active_a, active_b, write_a, write_b;
  assign active_a = CEA && CSA == 3'd0;
  assign active_b = CEB && CSB == 3'd0;
  assign write_a  = active_a && (WEA || WIDE);
  assign write_b  = active_b && WEB && !WIDE;

  logic [17:0] read_a, read_b;
  initial {read_a, read_b} = '0;
  assign DOA = RESETMODE == "ASYNC" && (WIDE ? RSTB : RSTA) ? '0 : read_a;
  assign DOB = RESETMODE == "ASYNC" && RSTB ? '0 : read_b;

  if (WIDE) begin : g_pseudo
    logic [17:0] clash, old_low, old_high, mask_low, mask_high;
    assign clash     = {18{write_a && ADA[13:5] == ADB[13:5]}};
    assign old_low   = mem[{ADA[13:5], 1'b0}];
    assign old_high  = mem[{ADA[13:5], 1'b1}];
    assign mask_low  = mask(36, ADA);
    assign mask_high = mask(36, ADA >> 2);
    always @(posedge CLKA) begin
      if (write_a) begin
        mem[{ADA[13:5], 1'b0}] <= (old_low & ~mask_low) | (DIA & mask_low);
        mem[{ADA[13:5], 1'b1}] <= (old_high & ~mask_high) | (DIB & mask_high);
      end
    end
    always @(posedge CLKB) begin
      if (RSTB) {read_b, read_a} <= '0;
      else if (active_b) begin
        if (DATA_WIDTH_B == 36) begin
          read_a <= mem[{ADB[13:5], 1'b0}] ^ clash;
          read_b <= mem[{ADB[13:5], 1'b1}] ^ clash;
        end else read_b <= pick(DATA_WIDTH_B, ADB, mem[ADB[13:4]] ^ clash);
      end
    end
  end else begin : g_dual
    logic [17:0] mask_a, mask_b, old_a, old_b, new_a, new_b, clash_a, clash_b;
    logic same;
    assign same    = ADA[13:4] == ADB[13:4];
    assign mask_a  = mask(DATA_WIDTH_A, ADA);
    assign mask_b  = mask(DATA_WIDTH_B, ADB);
    assign clash_a = {18{write_b && same}} & mask_b;
    assign clash_b = {18{write_a && same}} & mask_a;
    assign old_a   = mem[ADA[13:4]];
    assign old_b   = mem[ADB[13:4]];
    assign new_a   = (old_a & ~mask_a) | (spread(DATA_WIDTH_A, DIA) & mask_a);
    assign new_b   = (old_b & ~mask_b) | (spread(DATA_WIDTH_B, DIB) & mask_b);
    always @(posedge CLKA) begin
      if (write_a) mem[ADA[13:4]] <= new_a;
      if (RSTA) read_a <= '0;
      else if (active_a) begin
        if (!write_a) read_a <= pick(DATA_WIDTH_A, ADA, old_a ^ clash_a);
        else if (WRITEMODE_A == "READBEFOREWRITE") read_a <= pick(DATA_WIDTH_A, ADA, old_a);
        else if (WRITEMODE_A == "WRITETHROUGH") read_a <= pick(DATA_WIDTH_A, ADA, new_a);
      end
    end
    always @(posedge CLKB) begin
      if (write_b) mem[ADB[13:4]] <= new_b;
      if (RSTB) read_b <= '0;
      else if (active_b) begin
        if (!write_b) read_b <= pick(DATA_WIDTH_B, ADB, old_b ^ clash_b);
        else if (WRITEMODE_B == "READBEFOREWRITE") read_b <= pick(DATA_WIDTH_B, ADB, old_b);
        else if (WRITEMODE_B == "WRITETHROUGH") read_b <= pick(DATA_WIDTH_B, ADB, new_b);
      end
    end
  end
endmodule
