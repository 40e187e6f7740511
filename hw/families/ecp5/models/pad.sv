// ECP5 pads. B is the pin of the package; the output pad's T (high: not driven) is not used by an image.
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
