// Integers of LANES codes in two's complement of OUT_BITS bits (modulo 2^OUT_BITS). Combinational: wires and an
// inverter.
`default_nettype none

module bf_widen #(
    parameter int           LANES    = 1,
    parameter int           IN_BITS  = 4,
    parameter int           OUT_BITS = 8,
    parameter logic [127:0] KIND     = "unsigned"  // "unsigned", "signed" (two's complement), "bipolar" (0: -1, 1: +1)
) (
    input  wire logic [ LANES-1:0][ IN_BITS-1:0] codes,
    output      logic [LANES-1:0][OUT_BITS-1:0] integers
);
`ifndef __ICARUS__
  if (KIND != "unsigned" && KIND != "signed" && KIND != "bipolar") begin : g_bad_kind
    $error("bf_widen: KIND must be unsigned, signed or bipolar");
  end
`endif
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    if (KIND == "bipolar") begin : g_bipolar
      assign integers[i] = OUT_BITS'({{OUT_BITS{!codes[i][0]}}, 1'b1});
    end else begin : g_number
      logic sign;
      assign sign        = KIND == "signed" && codes[i][IN_BITS-1];
      assign integers[i] = OUT_BITS'({{OUT_BITS{sign}}, codes[i]});
    end
  end
endmodule
