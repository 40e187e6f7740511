// The stream rule: once `valid` is high it stays high, and the data stay as they are, until `ready`.
`default_nettype none

module stream_rule #(
    parameter int WIDTH = 8  // bits of a beat
) (
    input wire logic             clk,
    input wire logic             rst,
    input wire logic             valid,
    input wire logic             ready,
    input wire logic [WIDTH-1:0] data
);
  logic offered;
  logic [WIDTH-1:0] beat;
  always_ff @(posedge clk) begin
    offered <= !rst && valid && !ready;
    beat    <= data;
  end
  always_comb begin
    if (offered) assert (valid && data == beat);
  end
endmodule
