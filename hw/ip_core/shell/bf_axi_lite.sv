// An AXI4-Lite subordinate for registers of 32 bits. A write takes its address and data together, `write` is high for
// one cycle, and the response is in the next one. A read is answered one cycle after its address, with the `read_data`
// that belongs to `read_address` in that cycle. Every address is answered with OKAY. One write and one read at a time.
`default_nettype none

module bf_axi_lite #(
    parameter int ADDRESS = 12
) (
    input  wire logic               clk,
    input  wire logic               rst,
    input  wire logic               awvalid,
    output      logic               awready,
    input  wire logic [ADDRESS-1:0] awaddr,
    input  wire logic               wvalid,
    output      logic               wready,
    input  wire logic [       31:0] wdata,
    input  wire logic [        3:0] wstrb,
    output      logic               bvalid,
    input  wire logic               bready,
    input  wire logic               arvalid,
    output      logic               arready,
    input  wire logic [ADDRESS-1:0] araddr,
    output      logic               rvalid,
    input  wire logic               rready,
    output      logic [       31:0] rdata,
    output      logic               write,
    output      logic [ADDRESS-1:0] write_address,
    output      logic [       31:0] write_data,
    output      logic [        3:0] write_octets,
    output      logic               read,
    output      logic [ADDRESS-1:0] read_address,
    input  wire logic [       31:0] read_data
);
  assign write         = awvalid && wvalid && !bvalid && !rst;
  assign awready       = write;
  assign wready        = write;
  assign write_address = awaddr;
  assign write_data    = wdata;
  assign write_octets  = wstrb;
  assign arready       = !rvalid && !rst;
  assign read          = arvalid && arready;
  assign read_address  = araddr;
  always_ff @(posedge clk) begin
    if (rst) {bvalid, rvalid} <= '0;
    else begin
      if (write) bvalid <= 1'b1;
      else if (bready) bvalid <= 1'b0;
      if (read) rvalid <= 1'b1;
      else if (rready) rvalid <= 1'b0;
    end
    if (read) rdata <= read_data;
  end
endmodule
