// Gowin lookup-table RAM: 16 words of up to 4 bits (RAM16SDP1, RAM16SDP2, RAM16SDP4), written on the clock, read at
// once. INIT_<bit> holds one bit of every word.
`default_nettype none

module RAM16SDP #(
    parameter int          BITS   = 4,
    parameter logic [15:0] INIT_0 = '0,
    parameter logic [15:0] INIT_1 = '0,
    parameter logic [15:0] INIT_2 = '0,
    parameter logic [15:0] INIT_3 = '0
) (
    input  wire logic            CLK,
    input  wire logic            WRE,
    input  wire logic [     3:0] WAD,
    input  wire logic [BITS-1:0] DI,
    input  wire logic [     3:0] RAD,
    output      logic [BITS-1:0] DO
);
  logic [BITS-1:0] mem[16];
  initial for (int i = 0; i < 16; i++) mem[i] = BITS'({INIT_3[i], INIT_2[i], INIT_1[i], INIT_0[i]});
  always @(posedge CLK) if (WRE) mem[WAD] <= DI;
  assign DO = mem[RAD];
endmodule
