// Gowin PLL. A simulation has one clock, which is the one that the PLL makes: it passes through, locked. To synthesis
// the module is a name for the device's own cell.
`default_nettype none

(* blackbox *)
module rPLL #(
    parameter FCLKIN        = "27",
    parameter DEVICE        = "GW1NR-9C",
    parameter IDIV_SEL      = 0,
    parameter FBDIV_SEL     = 0,
    parameter ODIV_SEL      = 8,
    parameter DYN_IDIV_SEL  = "false",
    parameter DYN_FBDIV_SEL = "false",
    parameter DYN_ODIV_SEL  = "false",
    parameter CLKFB_SEL     = "internal"
) (
    input  wire logic       CLKIN,
    input  wire logic       CLKFB,
    input  wire logic       RESET,
    input  wire logic       RESET_P,
    input  wire logic [5:0] FBDSEL,
    input  wire logic [5:0] IDSEL,
    input  wire logic [5:0] ODSEL,
    input  wire logic [3:0] PSDA,
    input  wire logic [3:0] DUTYDA,
    input  wire logic [3:0] FDLY,
    output      logic       CLKOUT,
    output      logic       LOCK,
    output      logic       CLKOUTP,
    output      logic       CLKOUTD,
    output      logic       CLKOUTD3
);
  assign CLKOUT = CLKIN;
  assign LOCK = 1'b1;
  assign {CLKOUTP, CLKOUTD, CLKOUTD3} = '0;
endmodule
