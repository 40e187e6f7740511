// SPI slave of mode 0 (SCK low at rest, data taken at its rising edge), octets from the highest bit on. SCK, MOSI and CS
// pass synchronisers and are sampled with clk, so SCK must be at most a fifth of it. MISO changes 2 to 3 cycles after a
// rising edge of SCK, when the master has taken the bit before. FILL is sent while there is nothing to send. `rx_error`
// is high for one cycle where CS ends within an octet; both octets are lost then. Latency of an octet: 3 cycles.
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
    output      logic [7:0] rx_data,
    output      logic       rx_error,
    input  wire logic       tx_valid,
    output      logic       tx_ready,
    input  wire logic [7:0] tx_data
);
  logic [2:0] clock;  // bit 0 is the newest; bits 0 and 1 are the synchroniser
  logic [1:0] data, select_n;
  logic [7:0] out;
  logic [6:0] in;
  logic [2:0] place;
  logic rise;
  assign rise     = clock[1] && !clock[2] && !select_n[1];
  assign tx_ready = rise && place == 3'd7;
  assign miso     = out[7];
  always_ff @(posedge clk) begin
    clock    <= {clock[1:0], sck};
    data     <= {data[0], mosi};
    select_n <= {select_n[0], cs_n};
    rx_valid <= 1'b0;
    rx_error <= 1'b0;
    if (rst) begin
      clock    <= '1;
      select_n <= '1;
      place    <= '0;
      out      <= FILL;
    end else if (select_n[1]) begin
      place    <= '0;
      rx_error <= place != '0;
      if (place != '0) out <= FILL;
    end else if (rise) begin
      place    <= place + 3'd1;
      in       <= {in[5:0], data[1]};
      rx_data  <= {in, data[1]};
      rx_valid <= place == 3'd7;
      out      <= place != 3'd7 ? {out[6:0], 1'b0} : tx_valid ? tx_data : FILL;
    end
  end
endmodule
