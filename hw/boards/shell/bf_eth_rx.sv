// Receiver of Ethernet frames from GMII, an octet a cycle (IEEE 802.3, clauses 3 and 35). Octets from the destination's
// address on appear as they arrive, the last four being the frame check sequence. After the last one `m_end` is high for
// one cycle, with `m_good` where the sequence is right and the PHY has seen no error. A preamble may be short, as some PHYs
// lose its beginning. Latency: 1 cycle.
`default_nettype none

module bf_eth_rx (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       dv,
    input  wire logic       er,
    input  wire logic [7:0] d,
    output      logic       m_valid,
    output      logic [7:0] m_data,
    output      logic       m_end,
    output      logic       m_good
);
  localparam logic [31:0] RESIDUE = 32'hdebb20e3;  // what a frame with its own check sequence leaves
  typedef enum logic [1:0] {
    IDLE,
    PREAMBLE,
    FRAME,
    SKIP  // until the line is idle
  } state_t;
  state_t state;
  logic bad;
  logic [31:0] crc;

  function automatic logic [31:0] advanced(input logic [31:0] from, input logic [7:0] octet);
    advanced = from;
    for (int i = 0; i < 8; i++) advanced = (advanced >> 1) ^ (advanced[0] ^ octet[i] ? 32'hedb88320 : '0);
  endfunction

  always_ff @(posedge clk) begin
    m_valid <= state == FRAME && dv;
    m_data  <= d;
    m_end   <= state == FRAME && !dv;
    m_good  <= crc == RESIDUE && !bad;
    if (state != FRAME) begin
      crc <= '1;
      bad <= 1'b0;
    end else if (dv) begin
      crc <= advanced(crc, d);
      bad <= bad || er;
    end
    if (!dv) state <= IDLE;
    else if (state == IDLE || state == PREAMBLE)
      state <= er ? SKIP : d == 8'hd5 ? FRAME : d == 8'h55 ? PREAMBLE : SKIP;
    if (rst) begin
      state   <= SKIP;
      m_valid <= 1'b0;
      m_end   <= 1'b0;
    end
  end
endmodule
