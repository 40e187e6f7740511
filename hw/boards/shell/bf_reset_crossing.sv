// A reset for another clock: it begins with `rst_in`, whether that clock runs or not, and ends with the second edge of
// the clock after it.
`default_nettype none

module bf_reset_crossing (
    input  wire logic clk,
    input  wire logic rst_in,  // of another clock
    output      logic rst
);
  logic first;
  always_ff @(posedge clk, posedge rst_in) begin
    if (rst_in) {rst, first} <= '1;
    else {rst, first} <= {first, 1'b0};
  end
endmodule
