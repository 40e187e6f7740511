// iCE40 flip-flop: all kinds of SB_DFF are one here. A synchronous set or reset acts only with the enable. It wakes up
// as 0.
`default_nettype none

module SB_DFF #(
    parameter logic NEGATIVE = 1'b0,
    parameter logic SET      = 1'b0,
    parameter logic ASYNC    = 1'b0
) (
    input  wire logic C,
    input  wire logic E,
    input  wire logic SR,
    input  wire logic D,
    output      logic Q
);
  initial Q = 1'b0;
  logic clk;
  assign clk = NEGATIVE ? ~C : C;
  if (ASYNC) begin : g_async
    always @(posedge clk, posedge SR) begin
      if (SR) Q <= SET;
      else if (E) Q <= D;
    end
  end else begin : g_sync
    always @(posedge clk) if (E) Q <= SR ? SET : D;
  end
endmodule
