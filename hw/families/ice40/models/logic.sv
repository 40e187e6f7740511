// iCE40 logic: lookup table, carry and the logic cell that holds both and a flip-flop after packing. The contents of a
// table are an input, not a parameter: as a parameter every one would make a module of its own, which takes long.
`default_nettype none

module SB_LUT4 (
    input  wire logic [15:0] LUT_INIT,
    input  wire logic        I0,
    input  wire logic        I1,
    input  wire logic        I2,
    input  wire logic        I3,
    output      logic        O
);
  assign O = LUT_INIT[{I3, I2, I1, I0}];
endmodule

module SB_CARRY (
    input  wire logic I0,
    input  wire logic I1,
    input  wire logic CI,
    output      logic CO
);
  assign CO = (I0 && I1) || (I0 && CI) || (I1 && CI);
endmodule

// A placed logic cell. The carry takes the table's inputs I1 and I2; LO is the table's own output.
module ICESTORM_LC #(
    parameter logic NEG_CLK      = 1'b0,
    parameter logic CARRY_ENABLE = 1'b0,
    parameter logic DFF_ENABLE   = 1'b0,
    parameter logic SET_NORESET  = 1'b0,
    parameter logic ASYNC_SR     = 1'b0,
    parameter logic CIN_CONST    = 1'b0,
    parameter logic CIN_SET      = 1'b0
) (
    input  wire logic [15:0] LUT_INIT,
    input  wire logic        I0,
    input  wire logic        I1,
    input  wire logic        I2,
    input  wire logic        I3,
    input  wire logic        CIN,
    input  wire logic        CLK,
    input  wire logic        CEN,
    input  wire logic        SR,
    output      logic        O,
    output      logic        LO,
    output      logic        COUT
);
  assign LO = LUT_INIT[{I3, I2, I1, I0}];
  if (CARRY_ENABLE) begin : g_carry
    SB_CARRY carry (
        .I0(I1),
        .I1(I2),
        .CI(CIN_CONST ? CIN_SET : CIN),
        .CO(COUT)
    );
  end else begin : g_no_carry
    assign COUT = 1'b0;
  end
  if (DFF_ENABLE) begin : g_register
    SB_DFF #(
        .NEGATIVE(NEG_CLK),
        .SET     (SET_NORESET),
        .ASYNC   (ASYNC_SR)
    ) register (
        .C(CLK),
        .E(CEN),
        .SR,
        .D(LO),
        .Q(O)
    );
  end else begin : g_logic
    assign O = LO;
  end
endmodule
