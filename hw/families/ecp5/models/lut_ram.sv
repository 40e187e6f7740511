// ECP5 lookup-table RAM: 16 words of 4 bits, written on the clock, read at once.
`default_nettype none

module TRELLIS_DPR16X4 #(
    parameter logic [63:0] INITVAL = '0
) (
    input  wire logic       WCK,
    input  wire logic       WRE,
    input  wire logic [3:0] WAD,
    input  wire logic [3:0] DI,
    input  wire logic [3:0] RAD,
    output      logic [3:0] DO
);
  logic [3:0] mem[16];
  initial for (int i = 0; i < 16; i++) mem[i] = INITVAL[4*i+:4];
  always @(posedge WCK) if (WRE) mem[WAD] <= DI;
  assign DO = mem[RAD];
endmodule

// The write port of a placed RAM: wires from the inputs of the two tables whose place it takes.
module TRELLIS_RAMW (
    input  wire logic [1:0] A,
    input  wire logic [1:0] B,
    input  wire logic [1:0] C,
    input  wire logic [1:0] D,
    output      logic [3:0] WADO,
    output      logic [3:0] WDO
);
  assign WADO = {A[0], C[0], B[0], D[0]};
  assign WDO  = {B[1], D[1], A[1], C[1]};
endmodule
