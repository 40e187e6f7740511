// UART transmitter: 8 data bits, no parity, one stop bit, DIVISOR clock cycles per bit.
// Initiation interval: 10 * DIVISOR cycles per byte.
`default_nettype none

module bf_uart_tx #(
    parameter int DIVISOR = 32  // clocks a bit
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       valid,
    output      logic       ready,
    input  wire logic [7:0] data,
    output      logic       tx
);
  localparam int COUNT = $clog2(DIVISOR);
  logic [8:0] rest;  // what follows the bit on the line
  logic [3:0] places;
  logic [COUNT-1:0] left;

  always_ff @(posedge clk) begin
    if (rst) begin
      ready <= 1'b1;
      tx    <= 1'b1;
    end else if (ready) begin
      left   <= COUNT'(DIVISOR - 1);
      places <= 4'd9;
      rest   <= {1'b1, data};
      if (valid) begin
        ready <= 1'b0;
        tx    <= 1'b0;
      end
    end else if (left != '0) begin
      left <= left - COUNT'(1);
    end else begin
      left   <= COUNT'(DIVISOR - 1);
      places <= places - 4'd1;
      rest   <= {1'b1, rest[8:1]};
      tx     <= rest[0];
      ready  <= places == 4'd0;
    end
  end
endmodule
