// ECP5 PLL. A simulation has one clock, which is the one that the PLL makes: it passes through, locked. To synthesis
// the module is a name for the device's own cell.
`default_nettype none

(* blackbox *)
module EHXPLLL #(
    parameter CLKI_DIV         = 1,
    parameter CLKFB_DIV        = 1,
    parameter CLKOP_DIV        = 8,
    parameter CLKOP_ENABLE     = "ENABLED",
    parameter CLKOS_ENABLE     = "DISABLED",
    parameter CLKOS2_ENABLE    = "DISABLED",
    parameter CLKOS3_ENABLE    = "DISABLED",
    parameter CLKOP_CPHASE     = 0,
    parameter CLKOP_FPHASE     = 0,
    parameter FEEDBK_PATH      = "CLKOP",
    parameter OUTDIVIDER_MUXA  = "DIVA",
    parameter OUTDIVIDER_MUXB  = "DIVB",
    parameter OUTDIVIDER_MUXC  = "DIVC",
    parameter OUTDIVIDER_MUXD  = "DIVD",
    parameter PLLRST_ENA       = "DISABLED",
    parameter INTFB_WAKE       = "DISABLED",
    parameter STDBY_ENABLE     = "DISABLED",
    parameter DPHASE_SOURCE    = "DISABLED"
) (
    input  wire logic CLKI,
    input  wire logic CLKFB,
    input  wire logic PHASESEL0,
    input  wire logic PHASESEL1,
    input  wire logic PHASEDIR,
    input  wire logic PHASESTEP,
    input  wire logic PHASELOADREG,
    input  wire logic STDBY,
    input  wire logic PLLWAKESYNC,
    input  wire logic RST,
    input  wire logic ENCLKOP,
    input  wire logic ENCLKOS,
    input  wire logic ENCLKOS2,
    input  wire logic ENCLKOS3,
    output      logic CLKOP,
    output      logic CLKOS,
    output      logic CLKOS2,
    output      logic CLKOS3,
    output      logic LOCK,
    output      logic INTLOCK,
    output      logic REFCLK,
    output      logic CLKINTFB
);
  if (CLKOS_ENABLE != "DISABLED" || CLKOS2_ENABLE != "DISABLED" || CLKOS3_ENABLE != "DISABLED") begin : g_several
    $error("no model of EHXPLLL with several clocks");
  end
  assign CLKOP = CLKI;
  assign LOCK  = 1'b1;
  assign {CLKOS, CLKOS2, CLKOS3, INTLOCK, REFCLK, CLKINTFB} = '0;
endmodule
