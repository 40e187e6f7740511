// Finds UDP datagrams for PORT at IP, and ARP requests for IP, among Ethernet frames (RFC 768, 791 and 826). The octets of
// a datagram appear as they arrive. After the frame, `commit` is high for one cycle where all was right, else `drop`; `arp`
// after a request. `from` is the sender then. Right is a datagram of a whole frame to MAC with the right check sequence and
// checksums (UDP's may be absent), without IP options, and no fragment. Lengths must agree, and padding is left out.
`default_nettype none

module bf_udp_rx #(
    parameter logic [47:0] MAC  = '0,
    parameter logic [31:0] IP   = '0,
    parameter logic [15:0] PORT = '0
) (
    input  wire logic        clk,
    input  wire logic        rst,
    input  wire logic        s_valid,
    input  wire logic [ 7:0] s_data,
    input  wire logic        s_end,
    input  wire logic        s_good,
    output      logic        m_valid,
    output      logic [ 7:0] m_data,
    output      logic        commit,
    output      logic        drop,
    output      logic        arp,
    output      logic [95:0] from      // MAC, IP and port
);
  localparam int BODY = 42;  // octets of the headers, of a datagram as of ARP
  typedef logic [15:0] want_t;  // an octet of a header: the bits that count, and their values

  function automatic want_t want_ip(input logic [5:0] at);
    case (at)
      6'd0, 6'd1, 6'd2, 6'd3, 6'd4, 6'd5: want_ip = {8'hff, MAC[8*(5-at)+:8]};
      6'd12: want_ip = {8'hff, 8'h08};
      6'd13: want_ip = {8'hff, 8'h00};
      6'd14: want_ip = {8'hff, 8'h45};  // IPv4, no options
      6'd20: want_ip = {8'h3f, 8'h00};  // no fragment
      6'd21: want_ip = {8'hff, 8'h00};
      6'd23: want_ip = {8'hff, 8'h11};  // UDP
      6'd30, 6'd31, 6'd32, 6'd33: want_ip = {8'hff, IP[8*(33-at)+:8]};
      6'd36, 6'd37: want_ip = {8'hff, PORT[8*(37-at)+:8]};
      default: want_ip = '0;
    endcase
  endfunction

  function automatic want_t want_arp(input logic [5:0] at);
    case (at)
      6'd12, 6'd16: want_arp = {8'hff, 8'h08};
      6'd13, 6'd18: want_arp = {8'hff, 8'h06};
      6'd14, 6'd17, 6'd20: want_arp = {8'hff, 8'h00};
      6'd15, 6'd21: want_arp = {8'hff, 8'h01};  // Ethernet; a request
      6'd19: want_arp = {8'hff, 8'h04};
      6'd38, 6'd39, 6'd40, 6'd41: want_arp = {8'hff, IP[8*(41-at)+:8]};
      default: want_arp = '0;
    endcase
  endfunction

  function automatic logic is(input logic [7:0] octet, input want_t want);
    is = ((octet ^ want[7:0]) & want[15:8]) == '0;
  endfunction

  function automatic logic [16:0] plus(input logic [16:0] sum, input logic [15:0] word);
    plus = 17'(sum[15:0]) + 17'(word) + 17'(sum[16]);  // in ones' complement; the carry is added the next time
  endfunction

  logic [5:0] place, next;  // of the octet in the headers; stops at BODY
  logic first, header;
  want_t ip_octet, arp_octet;
  logic for_ip, for_arp, to_me, to_all;  // so far
  assign first  = place == '0;
  assign header = place != 6'(BODY);
  assign next   = s_end ? '0 : s_valid && header ? place + 6'd1 : place;

  // Lengths.
  logic [7:0] high;
  logic [15:0] total, length;  // of the packet, and of the datagram in it
  logic [15:0] left;           // 4 more than the octets of the packet to come
  logic [2:0] after;           // octets after the packet, up to 4
  logic more, fits;
  always_comb begin
    fits = 1'b1;
    if (place >= 6'd18 && header) fits = more;
    if (place == 6'd38) fits = s_data == length[15:8];
    if (place == 6'd39) fits = s_data == length[7:0];
  end

  // Checksums of words that were registered; UDP's begins with the protocol and with the length of IP's header as a
  // negative number, because it takes the length of the packet for that of the datagram.
  logic [15:0] word;
  logic [16:0] ip_sum, udp_sum;
  logic odd, in_ip, in_udp, ip_right, udp_right, absent, right;
  assign right = s_good && for_ip && ip_right && (udp_right || absent) && after[2];

  always_ff @(posedge clk) begin
    place     <= next;
    ip_octet  <= want_ip(next);
    arp_octet <= want_arp(next);
    m_valid   <= s_valid && !header && more && for_ip;
    m_data    <= s_data;
    if (s_valid) begin
      for_ip  <= (first || for_ip) && is(s_data, ip_octet) && fits;
      for_arp <= (first || for_arp) && is(s_data, arp_octet);
      if (place < 6'd6) begin
        to_me  <= (first || to_me) && is(s_data, ip_octet);
        to_all <= (first || to_all) && s_data == 8'hff;
      end
      if ((place >= 6'd6 && place < 6'd12) || (for_arp && place >= 6'd22 && place < 6'd28)) begin
        from[95:48] <= {from[87:48], s_data};
      end
      if (for_arp ? place >= 6'd28 && place < 6'd32 : place >= 6'd26 && place < 6'd30) begin
        from[47:16] <= {from[39:16], s_data};
      end
      if (place == 6'd34 || place == 6'd35) from[15:0] <= {from[7:0], s_data};

      high <= s_data;
      if (place == 6'd17) begin
        total  <= {high, s_data};
        left   <= {high, s_data};
        after  <= '0;
        more <= 1'b1;
      end else if (more) begin
        left <= left - 16'd1;
        if (left == 16'd5) more <= 1'b0;
      end else if (!header && !after[2]) begin
        after <= after + 3'd1;
      end
      odd <= !odd;
      if (place == 6'd40 || place == 6'd41) absent <= (place == 6'd40 || absent) && s_data == '0;
    end
    length <= total - 16'd20;

    word      <= odd ? {8'h00, s_data} : {s_data, 8'h00};
    in_ip     <= s_valid && place >= 6'd14 && place < 6'd34;
    in_udp    <= s_valid && (place == 6'd16 || place == 6'd17 || (place >= 6'd26 && header) || (!header && more));
    ip_sum    <= first ? '0 : plus(ip_sum, in_ip ? word : '0);
    udp_sum   <= first ? 17'h0fffc : plus(udp_sum, in_udp ? word : '0);
    ip_right  <= ip_sum == 17'h0ffff;
    udp_right <= udp_sum == 17'h0ffff;

    commit    <= s_end && right;
    drop      <= s_end && !right;
    arp       <= s_end && s_good && for_arp && (to_me || to_all) && !header;
    if (s_end) begin
      odd    <= 1'b0;
      more <= 1'b0;
    end
    if (rst) begin
      place   <= '0;
      odd     <= 1'b0;
      more  <= 1'b0;
      m_valid <= 1'b0;
      commit  <= 1'b0;
      drop    <= 1'b0;
      arp     <= 1'b0;
    end
  end
endmodule
