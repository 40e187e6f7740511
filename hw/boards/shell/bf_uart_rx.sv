// UART receiver: 8 data bits, no parity, one stop bit, DIVISOR clock cycles per bit. The line passes a synchroniser and
// a majority of three samples; a bit is sampled in its middle, counted from the edge of the start bit. `valid` is high
// for one cycle with a byte, `error` for one cycle where the stop bit is missing.
`default_nettype none

module bf_uart_rx #(
    parameter int DIVISOR = 32  // clocks a bit, at least 8
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       rx,
    output      logic       valid,
    output      logic [7:0] data,
    output      logic       error
);
`ifndef __ICARUS__
  if (DIVISOR < 8) begin : g_check
    $error("bf_uart_rx: DIVISOR must be at least 8");
  end
`endif
  localparam int COUNT = $clog2(DIVISOR);

  logic [4:0] line;  // bit 0 is the newest; bits 0 and 1 are the synchroniser
  logic level, earlier, busy;
  logic [COUNT-1:0] left;  // clocks to the next sample
  logic [3:0] place;  // 0: start bit, 1 to 8: data, 9: stop bit
  assign level = (line[2] && line[3]) || (line[3] && line[4]) || (line[2] && line[4]);

  always_ff @(posedge clk) begin
    line   <= {line[3:0], rx};
    earlier <= level;
    valid  <= 1'b0;
    error  <= 1'b0;
    if (rst) begin
      line   <= '1;
      earlier <= 1'b0;
      busy   <= 1'b0;
    end else if (!busy) begin
      busy  <= earlier && !level;
      left  <= COUNT'(DIVISOR / 2 - 1);
      place <= 4'd0;
    end else if (left != '0) begin
      left <= left - COUNT'(1);
    end else begin
      left  <= COUNT'(DIVISOR - 1);
      place <= place + 4'd1;
      if (place == 4'd0) busy <= !level;
      else if (place == 4'd9) begin
        busy  <= 1'b0;
        valid <= level;
        error <= !level;
      end else data <= {level, data[7:1]};
    end
  end
endmodule
