// Properties of bf_fifo: it holds up to DEPTH beats, in order, is ready exactly while it has room, and offers each beat
// within its latency.
`default_nettype none

module fifo_properties #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 16,
    parameter int BLOCK = 0
) (
    input wire logic             clk,
    input wire logic             rst,
    input wire logic             s_valid,
    input wire logic             s_ready,
    input wire logic [WIDTH-1:0] s_data,
    input wire logic             m_valid,
    input wire logic             m_ready,
    input wire logic [WIDTH-1:0] m_data
);
  localparam int LATENCY = BLOCK == 0 ? 1 : 3;
  localparam int COUNT = $clog2(DEPTH + 1);
  logic [COUNT-1:0] count;
  logic [DEPTH-1:0][WIDTH-1:0] beats;
  scoreboard #(
      .WIDTH(WIDTH),
      .DEPTH(DEPTH)
  ) contents (
      .clk,
      .rst,
      .put      (s_valid && s_ready),
      .put_data (s_data),
      .take     (m_valid && m_ready),
      .take_data(m_data),
      .count,
      .pieces   (beats)
  );
  stream_rule #(
      .WIDTH(WIDTH)
  ) rule (
      .clk,
      .rst,
      .valid(m_valid),
      .ready(m_ready),
      .data (m_data)
  );
  // Cycles since the last beat came in, in which nothing was offered.
  logic [2:0] waited;
  always_ff @(posedge clk) waited <= rst || m_valid || count == 0 ? '0 : waited + 3'd1;
  always_comb begin
    assert (s_ready == (int'(count) < DEPTH));
    if (!m_valid && count != 0) assert (int'(waited) < LATENCY - 1);
  end

  if (BLOCK == 0) begin : g_lut
    always_comb begin
      assert (bf_fifo.g_lut.out.properties.started == 0);
      assert (bf_fifo.g_lut.out.properties.count == count);
      for (int i = 0; i < DEPTH; i++)
        if (i < int'(count)) assert (bf_fifo.g_lut.out.properties.beats[i] == beats[i]);
    end
  end else begin : g_block
    // Invariant: the oldest beats are in the output buffer, the next in the RAM's register, the others in the RAM.
    logic [1:0] in_buffer;
    logic fetched;
    int first, stored;  // the first beat in the RAM, and how many are there
    assign in_buffer = bf_fifo.g_block.out.properties.count;
    assign fetched   = bf_fifo.g_block.fetched;
    assign first     = int'(in_buffer) + int'(fetched);
    assign stored    = int'(bf_fifo.g_block.stored);
    function automatic int place(input int beat);
      place = int'(bf_fifo.g_block.head) + beat;
      if (place >= DEPTH) place -= DEPTH;
    endfunction
    always_comb begin
      assert (int'(bf_fifo.g_block.out.properties.started) == int'(fetched));
      assert (first + stored == int'(count));
      assert (int'(bf_fifo.g_block.places) + int'(count) == DEPTH);
      assert (bf_fifo.g_block.some == (stored != 0));
      assert (int'(bf_fifo.g_block.head) < DEPTH);
      assert (int'(bf_fifo.g_block.tail) == place(stored));
      for (int i = 0; i < DEPTH; i++) begin
        if (i < 3 && i < int'(in_buffer)) assert (bf_fifo.g_block.out.properties.beats[i%3] == beats[i]);
        if (fetched && i == int'(in_buffer)) assert (bf_fifo.g_block.read == beats[i]);
        if (i >= first && i < int'(count)) assert (bf_fifo.g_block.mem[place(i-first)] == beats[i]);
      end
      if (!m_valid && stored != 0 && !fetched) assert (waited == 0);
    end
  end

  logic left_once;
  (* keep *) logic reached;
  always_ff @(posedge clk) left_once <= !rst && (left_once || (m_valid && m_ready));
  assign reached = left_once && int'(count) == DEPTH;
endmodule

bind bf_fifo fifo_properties #(
    .WIDTH(WIDTH),
    .DEPTH(DEPTH),
    .BLOCK(BLOCK)
) properties (
    .*
);
