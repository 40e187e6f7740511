// ECP5 bidirectional pad: the pin B is driven with I while T is low. To synthesis it is a name for the device's own cell.
`default_nettype none

(* blackbox *)
module BB (
    input  wire logic I,
    input  wire logic T,
    output wire logic O,
    inout  wire logic B
);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule
