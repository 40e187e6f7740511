// Reset after configuration, and for 255 cycles after `hold`, which may come from another clock, was low again.
`default_nettype none

module bf_power_on (
    input  wire logic clk,
    input  wire logic hold,
    output      logic rst
);
  logic [1:0] held;
  logic [7:0] count;
  initial begin
    held  = '1;
    count = '0;
    rst   = 1'b1;
  end
  always @(posedge clk) begin
    held  <= {held[0], hold};
    count <= held[1] ? '0 : count == '1 ? count : count + 8'd1;
    rst   <= count != '1;
  end
endmodule
