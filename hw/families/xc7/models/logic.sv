// Lookup tables of 7 series. The contents of a table are an input, not a parameter: as a parameter every one would make
// a module of its own, which takes long.
`default_nettype none

// LUT1 to LUT6.
module XC7_LUT (
    input  wire logic [63:0] INIT,
    input  wire logic        I0,
    input  wire logic        I1,
    input  wire logic        I2,
    input  wire logic        I3,
    input  wire logic        I4,
    input  wire logic        I5,
    output      logic        O
);
  assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule

// One table with two outputs: O5 is its lower half.
module XC7_LUT6_2 (
    input  wire logic [63:0] INIT,
    input  wire logic        I0,
    input  wire logic        I1,
    input  wire logic        I2,
    input  wire logic        I3,
    input  wire logic        I4,
    input  wire logic        I5,
    output      logic        O6,
    output      logic        O5
);
  assign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
  assign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}];
endmodule
