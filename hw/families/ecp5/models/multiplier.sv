// ECP5 18 by 18 bit multiplier without its registers: P = A * B, each operand signed or not by a pin of its own.
`default_nettype none

module MULT18X18D #(
    parameter REG_INPUTA_CLK   = "NONE",
    parameter REG_INPUTB_CLK   = "NONE",
    parameter REG_INPUTC_CLK   = "NONE",
    parameter REG_PIPELINE_CLK = "NONE",
    parameter REG_OUTPUT_CLK   = "NONE"
) (
    input  wire logic [17:0] A,
    input  wire logic [17:0] B,
    input  wire logic [17:0] C,
    input  wire logic        SIGNEDA,
    input  wire logic        SIGNEDB,
    input  wire logic        SOURCEA,
    input  wire logic        SOURCEB,
    input  wire logic [ 3:0] CLK,
    input  wire logic [ 3:0] CE,
    input  wire logic [ 3:0] RST,
    input  wire logic [17:0] SRIA,
    input  wire logic [17:0] SRIB,
    output      logic [17:0] SROA,
    output      logic [17:0] SROB,
    output      logic [17:0] ROA,
    output      logic [17:0] ROB,
    output      logic [17:0] ROC,
    output      logic [35:0] P,
    output      logic        SIGNEDP
);
  if (REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" || REG_INPUTC_CLK != "NONE" ||
      REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE") begin : g_register
    $error("no model of MULT18X18D with registers");
  end
  logic signed [18:0] a, b;
  assign a = {SIGNEDA && A[17], A};
  assign b = {SIGNEDB && B[17], B};
  assign P = 36'(a * b);
  assign SIGNEDP = SIGNEDA || SIGNEDB;
  assign {SROA, SROB, ROA, ROB, ROC} = '0;
endmodule
