// UDP over Ethernet at 1 Gbit/s: octets in the datagrams of a host, as of one stream, and octets to it. The PHY's receive
// clock drives the sender too. Nibbles are RGMII's, from both edges of that clock, the lower four of an octet first.
// Octets cross to and from clk through FIFOs.
`default_nettype none

module bf_ethernet #(
    parameter logic [47:0] MAC    = '0,
    parameter logic [31:0] IP     = '0,
    parameter logic [15:0] PORT   = '0,
    parameter int          BUFFER = 13,  // log2 of the octets of datagrams that may wait for the image
    parameter int          LONG   = 10   // log2 of the octets of the longest datagram that is sent
) (
    input  wire logic       clk,
    input  wire logic       rst,
    output      logic       phy_rst_n,
    input  wire logic       eth_clk,
    input  wire logic [4:0] rx_rise,    // control and data
    input  wire logic [4:0] rx_fall,
    output      logic [4:0] tx_rise,
    output      logic [4:0] tx_fall,
    output      logic       rx_valid,
    input  wire logic       rx_ready,
    output      logic [7:0] rx_data,
    input  wire logic       tx_valid,
    output      logic       tx_ready,
    input  wire logic [7:0] tx_data
);
  logic hold, cleared, crossing_rst, held, eth_rst;  // cleared and crossing_rst are asynchronous resets
  always_ff @(posedge clk) cleared <= hold;
  always_ff @(posedge eth_clk) {eth_rst, held} <= {held, hold};
  bf_phy_reset phy (
      .clk,
      .rst,
      .phy_rst_n,
      .hold
  );
  bf_reset_crossing reset (
      .clk   (eth_clk),
      .rst_in(cleared),
      .rst   (crossing_rst)
  );

  // From the host.
  logic dv, er, got_valid, got_end, got_good, in_valid, commit, drop, arp, some, take;
  logic [7:0] d, got, in, waiting;
  logic [95:0] from, peer;
  always_ff @(posedge eth_clk) begin
    dv <= rx_rise[4];
    er <= rx_rise[4] ^ rx_fall[4];
    d  <= {rx_fall[3:0], rx_rise[3:0]};
    if (commit) peer <= from;
  end
  bf_eth_rx mac_rx (
      .clk(eth_clk),
      .rst(eth_rst),
      .dv,
      .er,
      .d,
      .m_valid(got_valid),
      .m_data (got),
      .m_end  (got_end),
      .m_good (got_good)
  );
  bf_udp_rx #(
      .MAC (MAC),
      .IP  (IP),
      .PORT(PORT)
  ) udp_rx (
      .clk    (eth_clk),
      .rst    (eth_rst),
      .s_valid(got_valid),
      .s_data (got),
      .s_end  (got_end),
      .s_good (got_good),
      .m_valid(in_valid),
      .m_data (in),
      .commit,
      .drop,
      .arp,
      .from
  );
  bf_datagram_buffer #(
      .LOG(BUFFER)
  ) datagrams (
      .clk    (eth_clk),
      .rst    (eth_rst),
      .s_valid(in_valid),
      .s_data (in),
      .commit,
      .drop,
      .m_valid(some),
      .m_ready(take),
      .m_data (waiting)
  );
  bf_crossing from_host (
      .w_clk  (eth_clk),
      .w_rst  (crossing_rst),
      .w_valid(some),
      .w_ready(take),
      .w_room (),
      .w_data (waiting),
      .r_clk  (clk),
      .r_rst  (cleared),
      .r_valid(rx_valid),
      .r_ready(rx_ready),
      .r_data (rx_data)
  );

  // To the host.
  logic out_valid, out_ready, send_valid, send_ready, send_last, en;
  logic [7:0] out, send, q;
  bf_crossing to_host (
      .w_clk  (clk),
      .w_rst  (cleared),
      .w_valid(tx_valid),
      .w_ready(tx_ready),
      .w_room (),
      .w_data (tx_data),
      .r_clk  (eth_clk),
      .r_rst  (crossing_rst),
      .r_valid(out_valid),
      .r_ready(out_ready),
      .r_data (out)
  );
  bf_udp_tx #(
      .MAC (MAC),
      .IP  (IP),
      .PORT(PORT),
      .LOG (LONG)
  ) udp_tx (
      .clk    (eth_clk),
      .rst    (eth_rst),
      .s_valid(out_valid),
      .s_ready(out_ready),
      .s_data (out),
      .peer,
      .ask    (arp),
      .asker  (from[95:16]),
      .m_valid(send_valid),
      .m_ready(send_ready),
      .m_data (send),
      .m_last (send_last)
  );
  bf_eth_tx mac_tx (
      .clk    (eth_clk),
      .rst    (eth_rst),
      .s_valid(send_valid),
      .s_ready(send_ready),
      .s_data (send),
      .s_last (send_last),
      .en,
      .d      (q)
  );
  assign tx_rise = {en, q[3:0]};
  assign tx_fall = {en, q[7:4]};
endmodule
