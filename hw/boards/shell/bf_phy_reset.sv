// Reset of an Ethernet PHY for 2^LOG cycles, after which it is left as many again to start its clock.
`default_nettype none

module bf_phy_reset #(
    parameter int LOG = 14
) (
    input  wire logic clk,
    input  wire logic rst,
    output      logic phy_rst_n,
    output      logic hold        // until the PHY is ready
);
  logic [LOG+1:0] count;
  always_ff @(posedge clk) begin
    phy_rst_n <= count[LOG+1:LOG] != '0 && !rst;
    hold      <= !count[LOG+1] || rst;
    if (rst) count <= '0;
    else if (!count[LOG+1]) count <= count + (LOG + 2)'(1);
  end
endmodule
