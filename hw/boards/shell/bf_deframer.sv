// Takes messages out of the stream of received octets: flags, octet stuffing and CRC-32 as in RFC 1662. The octets of a
// message appear as they arrive, the last four being the CRC; `m_first` marks the first one. After the last one, `good`
// or `bad` is high for one cycle. Octets must be at least 8 / STEP + 2 cycles apart. Latency of an octet: 1 cycle.
`default_nettype none

module bf_deframer #(
    parameter int STEP = 1  // bits of the CRC a cycle: 1, 2, 4 or 8
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       s_valid,
    input  wire logic [7:0] s_data,
    input  wire logic       s_error,  // an octet was lost
    output      logic       m_valid,
    output      logic       m_first,
    output      logic [7:0] m_data,
    output      logic       good,
    output      logic       bad
);
  localparam logic [31:0] RESIDUE = 32'hdebb20e3;  // what a message with its own CRC leaves

  logic some, escaped, damaged;  // of the present message
  logic [31:0] crc;
  logic [7:0] rest;
  logic [3:0] steps;
  logic flag, escape;
  assign flag   = s_valid && s_data == 8'h7e;
  assign escape = s_valid && s_data == 8'h7d;

  function automatic logic [31:0] advanced(input logic [31:0] from, input logic [7:0] bits);
    advanced = from;
    for (int i = 0; i < STEP; i++) advanced = (advanced >> 1) ^ (advanced[0] ^ bits[i] ? 32'hedb88320 : '0);
  endfunction

  always_ff @(posedge clk) begin
    m_valid <= 1'b0;
    good    <= 1'b0;
    bad     <= 1'b0;
    if (steps != '0) begin
      steps <= steps - 4'd1;
      rest  <= rest >> STEP;
      crc   <= advanced(crc, rest);
    end
    if (s_error) damaged <= 1'b1;
    if (rst || flag) begin
      some    <= 1'b0;
      escaped <= 1'b0;
      damaged <= 1'b0;
      crc     <= '1;
      if (!rst) begin
        good <= some && !damaged && !escaped && crc == RESIDUE;
        bad  <= damaged || escaped || (some && crc != RESIDUE);
      end
    end else if (escape) begin
      escaped <= 1'b1;
      if (escaped) damaged <= 1'b1;
    end else if (s_valid) begin
      some    <= 1'b1;
      escaped <= 1'b0;
      m_valid <= 1'b1;
      m_first <= !some;
      m_data  <= escaped ? s_data ^ 8'h20 : s_data;
      rest    <= escaped ? s_data ^ 8'h20 : s_data;
      steps   <= 4'(8 / STEP);
    end
    if (rst) steps <= '0;
  end
endmodule
