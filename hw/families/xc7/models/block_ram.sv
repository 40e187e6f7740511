// Block RAM of 7 series: RAMB18E1 and RAMB36E1 as UG473 describes them, without output registers and ECC. Memory is
// BYTES bytes (INIT) with a parity bit each (INITP). A word of 1, 2 or 4 bits has no parity, one of 9, 18, 36 or 72
// bits one parity bit a byte; words lie one after the other, the lowest bit first.
//
// RAM_MODE "TDP": two ports that read and write. "SDP": port A reads, port B writes; a word of 36 bits (RAMB18E1) or
// 72 bits (RAMB36E1) takes the data pins of both ports. A port that reads what the other one writes in the same cycle
// gets the old word where the writer is READ_FIRST. Otherwise UG473 leaves it undefined, and the model gives the
// complement of the old word, on which no design can depend by chance. One clock is assumed for that.
//
// RAM_EXTENSION "LOWER" and "UPPER": two blocks of 32,768 words of 1 bit make one of 65,536; address bit 15 chooses.
`default_nettype none

module XC7_BLOCK_RAM #(
    parameter int                  BYTES           = 4096,
    parameter logic [8*BYTES-1:0]  INIT            = '0,
    parameter logic [BYTES-1:0]    INITP           = '0,
    parameter                      RAM_MODE        = "TDP",
    parameter int                  READ_WIDTH_A    = 0,
    parameter int                  READ_WIDTH_B    = 0,
    parameter int                  WRITE_WIDTH_A   = 0,
    parameter int                  WRITE_WIDTH_B   = 0,
    parameter                      WRITE_MODE_A    = "WRITE_FIRST",
    parameter                      WRITE_MODE_B    = "WRITE_FIRST",
    parameter logic [35:0]         INIT_A          = '0,
    parameter logic [35:0]         INIT_B          = '0,
    parameter logic [35:0]         SRVAL_A         = '0,
    parameter logic [35:0]         SRVAL_B         = '0,
    parameter                      RAM_EXTENSION_A = "NONE",
    parameter                      RAM_EXTENSION_B = "NONE"
) (
    input  wire logic        CLKARDCLK,
    input  wire logic        CLKBWRCLK,
    input  wire logic        ENARDEN,
    input  wire logic        ENBWREN,
    input  wire logic        RSTRAMARSTRAM,
    input  wire logic        RSTRAMB,
    input  wire logic [15:0] ADDRARDADDR,
    input  wire logic [15:0] ADDRBWRADDR,
    input  wire logic [31:0] DIADI,
    input  wire logic [31:0] DIBDI,
    input  wire logic [ 3:0] DIPADIP,
    input  wire logic [ 3:0] DIPBDIP,
    input  wire logic [ 3:0] WEA,
    input  wire logic [ 7:0] WEBWE,
    input  wire logic        CASCADEINA,
    input  wire logic        CASCADEINB,
    output      logic [31:0] DOADO,
    output      logic [31:0] DOBDO,
    output      logic [ 3:0] DOPADOP,
    output      logic [ 3:0] DOPBDOP,
    output      logic        CASCADEOUTA,
    output      logic        CASCADEOUTB
);
  // A row holds the widest word: its data bits below its parity bits.
  localparam int N = BYTES / 512;  // bytes of a row
  localparam int D = 8 * N;        // data bits of a row
  localparam int ROW = 9 * N;
  localparam bit SDP = RAM_MODE == "SDP";
  localparam bit WIDE_READ = SDP && READ_WIDTH_A == ROW;
  localparam bit WIDE_WRITE = SDP && WRITE_WIDTH_B == ROW;
  logic [ROW-1:0] mem[512];
  initial for (int i = 0; i < 512; i++) mem[i] = {INITP[N*i+:N], INIT[D*i+:D]};

  // A word: data in the lower 64 bits, parity in the upper 8.
  typedef logic [71:0] word_t;

  function automatic int data_bits(input int width);
    return width >= 9 ? width / 9 * 8 : width;
  endfunction
  function automatic logic [14:0] first(input int width, input logic [14:0] address);
    first = address & ~15'(data_bits(width) - 1);
    if (BYTES == 2048) first[14] = 1'b0;
  endfunction
  function automatic logic [ROW-1:0] place(input word_t word, input int at);
    return {N'(word[71:64]) << (at / 8), D'(word[63:0]) << at};
  endfunction
  function automatic word_t extent(input int width);
    extent = {width >= 9 ? ~(8'hff << (width / 9)) : 8'd0, ~(64'hffffffff_ffffffff << data_bits(width))};
    if (width == 72) extent[63:0] = '1;
  endfunction
  function automatic word_t written(input int width, input logic [7:0] enables);
    for (int i = 0; i < 8; i++) begin
      written[8*i+:8] = {8{enables[width > 9 ? i : 0]}};
      written[64+i]   = enables[width > 9 ? i : 0];
    end
    written &= extent(width);
  endfunction
  function automatic word_t cut(input int width, input logic [ROW-1:0] row, input int at);
    return {8'(row[ROW-1:D] >> (at / 8)), 64'(row[D-1:0] >> at)} & extent(width);
  endfunction
  // The value of an output as a parameter states it: the parity bits directly above the data bits.
  function automatic word_t value(input int width, input logic [35:0] text);
    case (width)
      9: return {7'd0, text[8], 56'd0, text[7:0]};
      18: return {6'd0, text[17:16], 48'd0, text[15:0]};
      36: return {4'd0, text[35:32], 32'd0, text[31:0]};
      default: return {8'd0, 60'd0, text[3:0]};
    endcase
  endfunction
  // A wide word has its lower half in the parameter of port A, its upper half in that of port B.
  function automatic word_t both(input logic [35:0] lower, input logic [35:0] upper);
    word_t low, high;
    low  = value(ROW / 2, lower);
    high = value(ROW / 2, upper);
    return {8'(high[71:64] << (N / 2)) | low[71:64], 64'(high[63:0] << (D / 2)) | low[63:0]};
  endfunction
  localparam word_t START_A = WIDE_READ ? both(INIT_A, INIT_B) : value(READ_WIDTH_A, INIT_A);
  localparam word_t CLEAR_A = WIDE_READ ? both(SRVAL_A, SRVAL_B) : value(READ_WIDTH_A, SRVAL_A);
  localparam word_t START_B = value(READ_WIDTH_B, INIT_B);
  localparam word_t CLEAR_B = value(READ_WIDTH_B, SRVAL_B);

  function automatic logic chosen(input bit lower, input bit upper, input logic top);
    return upper ? top : !lower || !top;
  endfunction
  logic here_a, here_b;
  assign here_a = chosen(RAM_EXTENSION_A == "LOWER", RAM_EXTENSION_A == "UPPER", ADDRARDADDR[15]);
  assign here_b = chosen(RAM_EXTENSION_B == "LOWER", RAM_EXTENSION_B == "UPPER", ADDRBWRADDR[15]);

  logic [14:0] first_a, first_b, first_wa, first_wb;
  logic [8:0] row_a, row_b, row_wa, row_wb;
  logic [7:0] enables_a, enables_b;
  logic [ROW-1:0] mask_a, mask_b, data_a, data_b, clash_a, clash_b;
  word_t in_a, in_b;
  always_comb begin
    in_a      = {4'd0, DIPADIP, 32'd0, DIADI};
    in_b      = {4'd0, DIPBDIP, 32'd0, DIBDI};
    if (WIDE_WRITE) in_b = {8'(DIPBDIP << (N / 2)) | 8'(DIPADIP), (64'(DIBDI) << (D / 2)) | 64'(DIADI)};
    enables_a = WRITE_WIDTH_A != 0 && ENARDEN && here_a && !SDP ? 8'(WEA) : 8'd0;
    enables_b = WRITE_WIDTH_B != 0 && ENBWREN && here_b ? WEBWE : 8'd0;
    first_a   = first(READ_WIDTH_A, ADDRARDADDR[14:0]);
    first_b   = first(READ_WIDTH_B, ADDRBWRADDR[14:0]);
    first_wa  = first(WRITE_WIDTH_A, ADDRARDADDR[14:0]);
    first_wb  = first(WRITE_WIDTH_B, ADDRBWRADDR[14:0]);
    row_a     = 9'(int'(first_a) / D);
    row_b     = 9'(int'(first_b) / D);
    row_wa    = 9'(int'(first_wa) / D);
    row_wb    = 9'(int'(first_wb) / D);
    mask_a    = place(written(WRITE_WIDTH_A, enables_a), int'(first_wa) % D);
    mask_b    = place(written(WRITE_WIDTH_B, enables_b), int'(first_wb) % D);
    data_a    = place(in_a, int'(first_wa) % D) & mask_a;
    data_b    = place(in_b, int'(first_wb) % D) & mask_b;
    clash_a   = WRITE_MODE_B != "READ_FIRST" && row_wb == row_a ? mask_b : '0;
    clash_b   = WRITE_MODE_A != "READ_FIRST" && row_wa == row_b ? mask_a : '0;
  end

  word_t read_a, read_b;
  initial read_a = START_A;
  initial read_b = START_B;
  always @(posedge CLKARDCLK) begin
    if (|mask_a) mem[row_wa] <= (mem[row_wa] & ~mask_a) | data_a;
    if (ENARDEN && here_a) begin
      if (RSTRAMARSTRAM) read_a <= CLEAR_A;
      else if (!(|mask_a)) read_a <= cut(READ_WIDTH_A, mem[row_a] ^ clash_a, int'(first_a) % D);
      else if (WRITE_MODE_A == "WRITE_FIRST")
        read_a <= cut(READ_WIDTH_A, row_wa == row_a ? (mem[row_a] & ~mask_a) | data_a : mem[row_a], int'(first_a) % D);
      else if (WRITE_MODE_A == "READ_FIRST") read_a <= cut(READ_WIDTH_A, mem[row_a], int'(first_a) % D);
    end
  end
  always @(posedge CLKBWRCLK) begin
    if (|mask_b) mem[row_wb] <= (mem[row_wb] & ~mask_b) | data_b;
    if (ENBWREN && here_b) begin
      if (RSTRAMB) read_b <= CLEAR_B;
      else if (!(|mask_b)) read_b <= cut(READ_WIDTH_B, mem[row_b] ^ clash_b, int'(first_b) % D);
      else if (WRITE_MODE_B == "WRITE_FIRST")
        read_b <= cut(READ_WIDTH_B, row_wb == row_b ? (mem[row_b] & ~mask_b) | data_b : mem[row_b], int'(first_b) % D);
      else if (WRITE_MODE_B == "READ_FIRST") read_b <= cut(READ_WIDTH_B, mem[row_b], int'(first_b) % D);
    end
  end

  // The upper block of two passes the lower one's bit on. Its choice moves where the output does.
  logic other_a, other_b;
  initial {other_a, other_b} = '0;
  always @(posedge CLKARDCLK)
    if (ENARDEN && (RSTRAMARSTRAM || WRITE_MODE_A != "NO_CHANGE" || WEA == '0)) other_a <= !ADDRARDADDR[15];
  always @(posedge CLKBWRCLK)
    if (ENBWREN && (RSTRAMB || WRITE_MODE_B != "NO_CHANGE" || WEBWE == '0)) other_b <= !ADDRBWRADDR[15];
  always_comb begin
    {DOPADOP, DOADO} = {read_a[67:64], read_a[31:0]};
    {DOPBDOP, DOBDO} = {read_b[67:64], read_b[31:0]};
    if (WIDE_READ) begin
      {DOPADOP, DOADO} = {4'(N / 2 == 4 ? read_a[67:64] : {2'd0, read_a[65:64]}), 32'(read_a[D/2-1:0])};
      {DOPBDOP, DOBDO} = {4'(read_a[64+N/2+:N/2]), 32'(read_a[D/2+:D/2])};
    end
    if (RAM_EXTENSION_A == "UPPER" && other_a) DOADO[0] = CASCADEINA;
    if (RAM_EXTENSION_B == "UPPER" && other_b) DOBDO[0] = CASCADEINB;
    CASCADEOUTA = read_a[0];
    CASCADEOUTB = read_b[0];
  end
endmodule
