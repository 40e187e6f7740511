// iCE40 block RAM of 4 kbit: a port that writes and a port that reads, each of 16 bits (mode 0), 8, 4 or 2 (mode 3).
// INIT holds 256 words of 16 bits. A mode of n bits takes the pins that stand in the middle of each group of 16 / n, and
// the high address bits choose the bit of the group. MASK of 1 keeps a bit, in mode 0 only. A word that is read while
// it is written comes out as the complement of the old one: a design must not depend on it. One clock is assumed.
`default_nettype none

module SB_RAM40_4K #(
    parameter                READ_MODE  = 0,
    parameter                WRITE_MODE = 0,
    parameter logic [4095:0] INIT       = '0
) (
    input  wire logic        RCLK,
    input  wire logic        RCLKE,
    input  wire logic        RE,
    input  wire logic [10:0] RADDR,
    output      logic [15:0] RDATA,
    input  wire logic        WCLK,
    input  wire logic        WCLKE,
    input  wire logic        WE,
    input  wire logic [10:0] WADDR,
    input  wire logic [15:0] WDATA,
    input  wire logic [15:0] MASK
);
  logic [15:0] mem[256];
  initial for (int i = 0; i < 256; i++) mem[i] = INIT[16*i+:16];

  localparam int READ_GROUP = 1 << READ_MODE, WRITE_GROUP = 1 << WRITE_MODE;
  logic [15:0] bits, data, old;
  logic write;
  assign write = WE && WCLKE;
  assign old   = mem[WADDR[7:0]];
  always_comb begin
    for (int i = 0; i < 16; i++) begin
      bits[i] = WRITE_MODE == 0 ? !MASK[i] : i % WRITE_GROUP == int'(WADDR[10:8]) % WRITE_GROUP;
      data[i] = WDATA[i/WRITE_GROUP*WRITE_GROUP+WRITE_GROUP/2-(WRITE_MODE==0?0:1)];
    end
  end
  always @(posedge WCLK) if (write) mem[WADDR[7:0]] <= (old & ~bits) | (data & bits);

  logic [15:0] word;
  assign word = mem[RADDR[7:0]] ^ (write && WADDR[7:0] == RADDR[7:0] ? bits : '0);
  initial RDATA = '0;
  always @(posedge RCLK) begin
    if (RE && RCLKE) begin
      RDATA <= '0;
      for (int g = 0; g < 16 / READ_GROUP; g++) begin
        RDATA[g*READ_GROUP+READ_GROUP/2-(READ_MODE==0?0:1)] <=
            word[g*READ_GROUP+int'(RADDR[10:8])%READ_GROUP];
      end
    end
  end
endmodule
