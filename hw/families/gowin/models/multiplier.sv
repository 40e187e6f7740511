// Gowin multipliers without registers (MULT9X9, MULT18X18, MULT36X36): DOUT = A * B, each signed or not by a pin.
`default_nettype none

module MULT #(
    parameter int BITS = 18
) (
    input  wire logic [  BITS-1:0] A,
    input  wire logic [  BITS-1:0] B,
    input  wire logic              ASIGN,
    input  wire logic              BSIGN,
    output      logic [2*BITS-1:0] DOUT
);
  logic signed [2*BITS-1:0] a, b;
  assign a = {{BITS{ASIGN && A[BITS-1]}}, A};
  assign b = {{BITS{BSIGN && B[BITS-1]}}, B};
  assign DOUT = a * b;
endmodule
