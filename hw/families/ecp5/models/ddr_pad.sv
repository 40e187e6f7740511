// ECP5 registers of a pad for both edges of a clock, and the delay of a pad, whose time has no model. To synthesis they are
// names for the device's own cells. Lattice FPGA-TN-02035: what was at an input at a rising edge and at the falling one after
// it appears at the next rising edge, and an output has what it was given at a rising edge in the two halves of a period.
`default_nettype none

(* blackbox *)
module IDDRX1F #(
    parameter GSR = "ENABLED"
) (
    input  wire logic D,
    input  wire logic SCLK,
    input  wire logic RST,
    output      logic Q0,
    output      logic Q1
);
  logic rise, fall;
  always @(posedge SCLK) begin
    rise <= RST ? 1'b0 : D;
    Q0   <= RST ? 1'b0 : rise;
    Q1   <= RST ? 1'b0 : fall;
  end
  always @(negedge SCLK) fall <= RST ? 1'b0 : D;
endmodule

(* blackbox *)
module ODDRX1F #(
    parameter GSR = "ENABLED"
) (
    input  wire logic D0,
    input  wire logic D1,
    input  wire logic SCLK,
    input  wire logic RST,
    output      logic Q
);
  logic first, second;
  always @(posedge SCLK) begin
    first  <= RST ? 1'b0 : D0;
    second <= RST ? 1'b0 : D1;
  end
  assign Q = SCLK ? first : second;
endmodule

(* blackbox *)
module DELAYG #(
    parameter DEL_MODE  = "USER_DEFINED",
    parameter DEL_VALUE = 0
) (
    input  wire logic A,
    output wire logic Z
);
  assign Z = A;
endmodule
