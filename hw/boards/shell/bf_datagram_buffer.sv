// Octets of datagrams, of which the reader sees only whole ones: `commit` keeps what was written since the last one, `drop`
// forgets it. A datagram that finds no room is forgotten, too. Latency: 2 cycles from `commit` to its first octet.
`default_nettype none

module bf_datagram_buffer #(
    parameter int LOG = 13  // log2 of its octets
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       s_valid,
    input  wire logic [7:0] s_data,
    input  wire logic       commit,
    input  wire logic       drop,
    output      logic       m_valid,
    input  wire logic       m_ready,
    output      logic [7:0] m_data
);
  typedef logic [LOG:0] count_t;  // octets that have passed, modulo twice the size
  (* no_rw_check, ram_style = "block" *) logic [7:0] mem[1 << LOG];
  count_t written, kept, read;
  logic full, lost, load;
  assign full = written == {!read[LOG], read[LOG-1:0]};
  assign load = read != kept && (!m_valid || m_ready);
  always_ff @(posedge clk) begin
    if (s_valid && !full) mem[written[LOG-1:0]] <= s_data;
    if (load) m_data <= mem[read[LOG-1:0]];
  end
  always_ff @(posedge clk) begin
    if (s_valid && !full && !lost) written <= written + count_t'(1);
    if (s_valid && full) lost <= 1'b1;
    if (commit || drop) begin
      lost <= 1'b0;
      if (drop || lost) written <= kept;
      else kept <= written;
    end
    if (load) read <= read + count_t'(1);
    if (load || m_ready) m_valid <= load;
    if (rst) begin
      written <= '0;
      kept    <= '0;
      read    <= '0;
      lost    <= 1'b0;
      m_valid <= 1'b0;
    end
  end
endmodule
