// Sender of Ethernet frames to GMII, an octet a cycle (IEEE 802.3, clauses 3 and 35): preamble, the octets given, zeros up
// to the shortest frame, the frame check sequence, and the gap after it. A frame begins with `s_valid`; from then on its
// source must have an octet in every cycle of `s_ready`, up to `s_last`. Latency: 9 cycles to the first octet.
`default_nettype none

module bf_eth_tx (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       s_valid,
    output      logic       s_ready,
    input  wire logic [7:0] s_data,
    input  wire logic       s_last,
    output      logic       en,
    output      logic [7:0] d
);
  localparam int SHORTEST = 60, GAP = 12;  // octets; of a frame without its check sequence
  typedef enum logic [2:0] {
    IDLE,
    PREAMBLE,
    DATA,
    PAD,
    CHECK,
    WAIT
  } state_t;
  state_t state;
  logic [5:0] place;  // of the octet in its part of the frame; stops at SHORTEST - 1
  logic [31:0] crc;
  logic [7:0] octet;
  assign s_ready = state == DATA;
  assign octet   = state == DATA ? s_data : '0;

  function automatic logic [31:0] advanced(input logic [31:0] from, input logic [7:0] bits);
    advanced = from;
    for (int i = 0; i < 8; i++) advanced = (advanced >> 1) ^ (advanced[0] ^ bits[i] ? 32'hedb88320 : '0);
  endfunction

  always_ff @(posedge clk) begin
    en <= state != IDLE && state != WAIT;
    if (place != 6'(SHORTEST - 1)) place <= place + 6'd1;
    case (state)
      IDLE: begin
        place <= '0;
        crc   <= '1;
        if (s_valid) state <= PREAMBLE;
      end
      PREAMBLE: begin
        d <= place == 6'd7 ? 8'hd5 : 8'h55;
        if (place == 6'd7) begin
          place <= '0;
          state <= DATA;
        end
      end
      DATA, PAD: begin
        d   <= octet;
        crc <= advanced(crc, octet);
        if (state == PAD || s_last) begin
          state <= place == 6'(SHORTEST - 1) ? CHECK : PAD;
          if (place == 6'(SHORTEST - 1)) place <= '0;
        end
      end
      CHECK: begin
        d   <= ~crc[7:0];
        crc <= crc >> 8;
        if (place == 6'd3) begin
          place <= '0;
          state <= WAIT;
        end
      end
      default: if (place == 6'(GAP - 1)) state <= IDLE;
    endcase
    if (rst) begin
      state <= IDLE;
      en    <= 1'b0;
    end
  end
endmodule
