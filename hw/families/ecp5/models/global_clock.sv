// ECP5: driver of a global clock line.
`default_nettype none

module DCCA (
    input  wire logic CLKI,
    input  wire logic CE,
    output      logic CLKO
);
  assign CLKO = CLKI && CE;
endmodule
