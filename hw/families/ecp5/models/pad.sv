// ECP5 pads. B is the pin of the package; T is high where a pad is not driven, which only
// bidirectional pads of an image are.
`default_nettype none

module TRELLIS_IO_INPUT (
    input  wire logic B,
    input  wire logic I,
    input  wire logic T,
    output      logic O
);
  assign O = B;
endmodule

module TRELLIS_IO_OUTPUT (
    output      logic B,
    input  wire logic I,
    input  wire logic T,
    output      logic O
);
  assign B = I;
  assign O = 1'b0;
endmodule

module TRELLIS_IO_BIDIR (
    inout  wire logic B,
    input  wire logic I,
    input  wire logic T,
    output wire logic O
);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule
