// Gowin logic: lookup tables, the multiplexers that join them, and the lookup table on the carry chain. The contents of
// a table are an input, not a parameter: as a parameter every one would make a module of its own, which takes long.
`default_nettype none

// A lookup table of one to four inputs.
module LUT4 (
    input  wire logic [15:0] INIT,
    input  wire logic        I0,
    input  wire logic        I1,
    input  wire logic        I2,
    input  wire logic        I3,
    output      logic        F
);
  assign F = INIT[{I3, I2, I1, I0}];
endmodule

// MUX2_LUT5 to MUX2_LUT8.
module MUX2 (
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic S0,
    output      logic O
);
  assign O = S0 ? I1 : I0;
endmodule

// Modes as in UG288: 0 add, 1 subtract, 2 add or subtract by I3, 3 not equal, 4 greater or equal, 5 less or equal.
module ALU #(
    parameter ALU_MODE = 0
) (
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic I3,
    input  wire logic CIN,
    output      logic SUM,
    output      logic COUT
);
  logic propagate, generated;
  if (ALU_MODE == 0) begin : g_add
    assign propagate = I0 ^ I1;
    assign generated = I0;
  end else if (ALU_MODE == 1 || ALU_MODE == 4) begin : g_subtract
    assign propagate = I0 ^ !I1;
    assign generated = I0;
  end else if (ALU_MODE == 2) begin : g_either
    assign propagate = I0 ^ I1 ^ !I3;
    assign generated = I0;
  end else if (ALU_MODE == 3) begin : g_not_equal
    assign propagate = I0 ^ !I1;
    assign generated = 1'b1;
  end else if (ALU_MODE == 5) begin : g_less
    assign propagate = !I0 ^ I1;
    assign generated = I1;
  end else begin : g_unknown
    $error("no model of ALU with ALU_MODE %0d", ALU_MODE);
  end
  assign SUM  = propagate ^ CIN;
  assign COUT = propagate ? CIN : generated;
endmodule

module GND (
    output logic G
);
  assign G = 1'b0;
endmodule

module VCC (
    output logic V
);
  assign V = 1'b1;
endmodule
