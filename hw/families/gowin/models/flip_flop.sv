// Gowin flip-flop: all kinds of DFF are one here. A set or reset goes before the enable. It wakes up as INIT.
`default_nettype none

module DFF #(
    parameter logic INIT     = 1'b0,
    parameter logic NEGATIVE = 1'b0,
    parameter logic SET      = 1'b0,
    parameter logic ASYNC    = 1'b0
) (
    input  wire logic CLK,
    input  wire logic CE,
    input  wire logic SR,
    input  wire logic D,
    output      logic Q
);
  initial Q = INIT;
  logic clk;
  assign clk = NEGATIVE ? ~CLK : CLK;
  if (ASYNC) begin : g_async
    always @(posedge clk, posedge SR) begin
      if (SR) Q <= SET;
      else if (CE) Q <= D;
    end
  end else begin : g_sync
    always @(posedge clk) begin
      if (SR) Q <= SET;
      else if (CE) Q <= D;
    end
  end
endmodule
