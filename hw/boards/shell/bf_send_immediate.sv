// SIWU# of an FT232H: low for PULSE cycles once an octet was sent and none for QUIET cycles after it, so that the chip
// hands on what it has though a USB packet is not full.
`default_nettype none

module bf_send_immediate #(
    parameter int QUIET = 32,
    parameter int PULSE = 16
) (
    input  wire logic clk,
    input  wire logic rst,
    input  wire logic sent,   // an octet, in this cycle
    output      logic siwu_n
);
  localparam int COUNT = $clog2((QUIET > PULSE ? QUIET : PULSE) + 1);
  logic due;
  logic [COUNT-1:0] left;
  always_ff @(posedge clk, posedge rst) begin
    if (rst) begin
      due    <= 1'b0;
      siwu_n <= 1'b1;
      left   <= '0;
    end else begin
      if (sent) due <= 1'b1;
      if (!siwu_n) begin
        left <= left - COUNT'(1);
        if (left == '0) begin
          siwu_n <= 1'b1;
          left   <= COUNT'(QUIET);
        end
      end else if (sent) left <= COUNT'(QUIET);
      else if (left != '0) left <= left - COUNT'(1);
      else if (due) begin
        due    <= 1'b0;
        siwu_n <= 1'b0;
        left   <= COUNT'(PULSE - 1);
      end
    end
  end
endmodule
