// SPI slave of mode 0, octets from the highest bit on, clocked by SCK itself: MOSI is taken at its rising edges, and MISO
// changes after its falling edges. Octets cross to clk through FIFOs, so SCK may be faster than clk; 8 periods of SCK must
// only be as long as the image needs for an octet.
// SCK stands still when the host has nothing to do. What was received does not wait for it: an octet is in the FIFO with
// its 8th rising edge. With that edge, too, the octet after the next falling one is chosen: of the FIFO to the host, or
// FILL where it is empty. So the first bit is on MISO before CS falls, and an octet that is written while SCK stands still
// follows the one that was chosen before. Where CS ends within an octet, what arrived of it is dropped, and the same octet
// is sent again from its first bit on.
`default_nettype none

module bf_spi #(
    parameter logic [7:0] FILL = 8'h7f
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       sck,
    input  wire logic       mosi,
    output      logic       miso,
    input  wire logic       cs_n,
    output      logic       rx_valid,
    input  wire logic       rx_ready,
    output      logic [7:0] rx_data,
    input  wire logic       tx_valid,
    output      logic       tx_ready,
    input  wire logic [7:0] tx_data
);
  logic cleared, sck_rst, first, last, some, bit_out;
  logic [2:0] place;  // of the bit on the line
  logic [6:0] in;
  logic [7:0] out, next, waiting;
  always_ff @(posedge clk) cleared <= rst;  // for asynchronous resets
  bf_reset_crossing reset (
      .clk   (sck),
      .rst_in(cleared),
      .rst   (sck_rst)
  );
  assign last = place == 3'd7;
  assign miso = first ? out[7] : bit_out;
  always_ff @(negedge sck) bit_out <= out[~(place+3'd1)];
  always_ff @(negedge sck, posedge cs_n) begin
    if (cs_n) begin
      place <= '0;
      first <= 1'b1;
    end else begin
      place <= place + 3'd1;
      first <= last;
    end
  end
  always_ff @(negedge sck, posedge sck_rst) begin
    if (sck_rst) out <= FILL;
    else if (last) out <= next;
  end
  always_ff @(posedge sck) in <= {in[5:0], mosi};
  always_ff @(posedge sck, posedge sck_rst) begin
    if (sck_rst) next <= FILL;
    else if (last) next <= some ? waiting : FILL;
  end
  bf_crossing from_host (
      .w_clk  (sck),
      .w_rst  (sck_rst),
      .w_valid(last),
      .w_ready(),
      .w_room (),
      .w_data ({in, mosi}),
      .r_clk  (clk),
      .r_rst  (cleared),
      .r_valid(rx_valid),
      .r_ready(rx_ready),
      .r_data (rx_data)
  );
  bf_crossing to_host (
      .w_clk  (clk),
      .w_rst  (cleared),
      .w_valid(tx_valid),
      .w_ready(tx_ready),
      .w_room (),
      .w_data (tx_data),
      .r_clk  (sck),
      .r_rst  (sck_rst),
      .r_valid(some),
      .r_ready(last),
      .r_data (waiting)
  );
endmodule
