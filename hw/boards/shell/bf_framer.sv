// Sends messages: flag, octets and their CRC-32 with octet stuffing, flag, as in RFC 1662. A message is a sequence of
// octets up to `s_last`; the transmitter may wait between them. Initiation interval: at least 4 cycles per octet, and
// 8 / STEP + 1; two cycles more for each that is escaped.
`default_nettype none

module bf_framer #(
    parameter int STEP = 1,  // bits of the CRC a cycle: 1, 2, 4 or 8
    parameter int FILL = 0   // 1: 0x7f is escaped too, because the transport sends it where there is nothing to send
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       s_valid,
    output      logic       s_ready,
    input  wire logic [7:0] s_data,
    input  wire logic       s_last,
    output      logic       m_valid,
    input  wire logic       m_ready,
    output      logic [7:0] m_data
);
  typedef enum logic [2:0] {
    IDLE,    // nothing sent, or the last flag
    NEXT,    // waits for an octet
    ESCAPE,  // sends 0x7d where the octet needs it
    OCTET,   // sends the octet
    CHECK,   // the CRC is complete, or one of its octets was sent
    DIGEST,  // waits for the next octet of the CRC
    FLAG     // sends the flag at the end
  } state_t;
  state_t state;
  logic [7:0] octet, rest;
  logic [31:0] crc;
  logic [3:0] steps;
  logic [2:0] tail;  // octets of the CRC sent or being sent
  logic last, sent;
  assign s_ready = state == NEXT && steps == '0;
  assign sent    = m_valid && m_ready;

  // The CRC and, from the top, what becomes of `bits`: at the end (`out`) the CRC is shifted out, inverted.
  function automatic logic [39:0] advanced(input logic [31:0] from, input logic [7:0] bits, input logic out);
    advanced = {bits, from};
    for (int i = 0; i < STEP; i++) begin
      advanced = {
        !advanced[0],
        advanced[39:33],
        (advanced[31:0] >> 1) ^ (!out && (advanced[0] ^ advanced[32]) ? 32'hedb88320 : 32'd0)
      };
    end
  endfunction

  function automatic logic special(input logic [7:0] value);
    return value == 8'h7e || value == 8'h7d || (FILL != 0 && value == 8'h7f);
  endfunction

  always_ff @(posedge clk) begin
    if (steps != '0) begin
      steps <= steps - 4'd1;
      {rest, crc} <= advanced(crc, rest, tail != '0);
    end
    case (state)
      IDLE: begin
        crc     <= '1;
        tail    <= '0;
        m_data  <= 8'h7e;
        m_valid <= s_valid && !sent;
        if (sent) state <= NEXT;
      end
      NEXT:
      if (s_valid && s_ready) begin
        octet <= s_data;
        rest  <= s_data;
        steps <= 4'(8 / STEP);
        last  <= s_last;
        state <= ESCAPE;
      end
      ESCAPE: begin
        m_data  <= 8'h7d;
        m_valid <= special(octet) && !sent;
        if (!special(octet) || sent) state <= OCTET;
      end
      OCTET: begin
        m_data  <= special(octet) ? octet ^ 8'h20 : octet;
        m_valid <= !sent;
        if (sent) state <= !last ? NEXT : CHECK;
      end
      CHECK:
      if (steps == '0) begin
        tail <= tail + 3'd1;
        if (tail != 3'd4) steps <= 4'(8 / STEP);  // else the next message's CRC may begin at once
        state <= tail == 3'd4 ? FLAG : DIGEST;
      end
      DIGEST:
      if (steps == '0) begin
        octet <= rest;
        state <= ESCAPE;
      end
      default: begin  // FLAG
        m_data  <= 8'h7e;
        m_valid <= !sent;
        if (sent) state <= IDLE;
      end
    endcase
    if (rst) begin
      state   <= IDLE;
      m_valid <= 1'b0;
      steps   <= '0;
    end
  end
endmodule
