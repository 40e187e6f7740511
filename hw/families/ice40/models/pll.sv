// iCE40 PLL at its pad. A simulation has one clock, which is the one that the PLL makes: it passes through, locked. To
// synthesis the module is a name for the device's own cell.
`default_nettype none

(* blackbox *)
module SB_PLL40_PAD #(
    parameter             FEEDBACK_PATH = "SIMPLE",
    parameter logic [3:0] DIVR          = 4'd0,
    parameter logic [6:0] DIVF          = 7'd0,
    parameter logic [2:0] DIVQ          = 3'd0,
    parameter logic [2:0] FILTER_RANGE  = 3'd0
) (
    input  wire logic PACKAGEPIN,
    input  wire logic RESETB,
    input  wire logic BYPASS,
    output      logic PLLOUTGLOBAL,
    output      logic LOCK
);
  assign PLLOUTGLOBAL = PACKAGEPIN;
  assign LOCK = 1'b1;
endmodule
