// iCE40 UltraPlus SB_MAC16 as a multiplier of 16 by 16 bits, without its registers and adders.
`default_nettype none

module SB_MAC16 #(
    parameter logic       NEG_TRIGGER              = 1'b0,
    parameter logic       A_REG                    = 1'b0,
    parameter logic       B_REG                    = 1'b0,
    parameter logic       C_REG                    = 1'b0,
    parameter logic       D_REG                    = 1'b0,
    parameter logic       TOP_8x8_MULT_REG         = 1'b0,
    parameter logic       BOT_8x8_MULT_REG         = 1'b0,
    parameter logic       PIPELINE_16x16_MULT_REG1 = 1'b0,
    parameter logic       PIPELINE_16x16_MULT_REG2 = 1'b0,
    parameter logic [1:0] TOPOUTPUT_SELECT         = 2'd0,
    parameter logic [1:0] TOPADDSUB_LOWERINPUT     = 2'd0,
    parameter logic       TOPADDSUB_UPPERINPUT     = 1'b0,
    parameter logic [1:0] TOPADDSUB_CARRYSELECT    = 2'd0,
    parameter logic [1:0] BOTOUTPUT_SELECT         = 2'd0,
    parameter logic [1:0] BOTADDSUB_LOWERINPUT     = 2'd0,
    parameter logic       BOTADDSUB_UPPERINPUT     = 1'b0,
    parameter logic [1:0] BOTADDSUB_CARRYSELECT    = 2'd0,
    parameter logic       MODE_8x8                 = 1'b0,
    parameter logic       A_SIGNED                 = 1'b0,
    parameter logic       B_SIGNED                 = 1'b0
) (
    input  wire logic [15:0] A,
    input  wire logic [15:0] B,
    output      logic [31:0] O
);
  if (A_REG || B_REG || TOP_8x8_MULT_REG || BOT_8x8_MULT_REG || PIPELINE_16x16_MULT_REG1 || PIPELINE_16x16_MULT_REG2 ||
      MODE_8x8 || TOPOUTPUT_SELECT != 2'd3 || BOTOUTPUT_SELECT != 2'd3) begin : g_more
    $error("no model of SB_MAC16 with registers, with sums, or as two multipliers of 8 by 8 bits");
  end
  logic signed [31:0] a, b;
  assign a = {{16{A_SIGNED && A[15]}}, A};
  assign b = {{16{B_SIGNED && B[15]}}, B};
  assign O = a * b;
endmodule
