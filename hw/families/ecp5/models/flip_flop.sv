// ECP5 flip-flop, before and after packing. It wakes up as REGSET says (the device's global reset).
// SD of "0": a placed flip-flop that takes its data from M, past the lookup table.
`default_nettype none

module TRELLIS_FF #(
    parameter REGSET  = "RESET",
    parameter SRMODE  = "LSR_OVER_CE",
    parameter LSRMODE = "LSR",
    parameter SD      = "1"
) (
    input  wire logic CLK,
    input  wire logic CE,
    input  wire logic LSR,
    input  wire logic DI,
    input  wire logic M,
    output      logic Q
);
  logic d;
  assign d = SD == "0" ? M : DI;
  initial Q = REGSET == "SET";
  if (LSRMODE != "LSR") begin : g_unknown
    $error("no model of TRELLIS_FF with LSRMODE %s", LSRMODE);
  end
  if (SRMODE == "LSR_OVER_CE") begin : g_sync
    always @(posedge CLK) begin
      if (LSR) Q <= REGSET == "SET";
      else if (CE) Q <= d;
    end
  end else if (SRMODE == "CE_OVER_LSR") begin : g_gated
    always @(posedge CLK) if (CE) Q <= LSR ? REGSET == "SET" : d;
  end else if (SRMODE == "ASYNC") begin : g_async
    always @(posedge CLK, posedge LSR) begin
      if (LSR) Q <= REGSET == "SET";
      else if (CE) Q <= d;
    end
  end else begin : g_mode
    $error("no model of TRELLIS_FF with SRMODE %s", SRMODE);
  end
endmodule
