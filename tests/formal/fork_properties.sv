// Properties of bf_fork: each output gives every beat that came in, in order, and a beat comes in exactly while each
// output has room for it.
`default_nettype none

module fork_properties #(
    parameter int WIDTH  = 8,
    parameter int COPIES = 2
) (
    input wire logic                         clk,
    input wire logic                         rst,
    input wire logic                         s_valid,
    input wire logic                         s_ready,
    input wire logic [WIDTH-1:0]             s_data,
    input wire logic [COPIES-1:0]            m_valid,
    input wire logic [COPIES-1:0]            m_ready,
    input wire logic [COPIES-1:0][WIDTH-1:0] m_data
);
  localparam int DEPTH = 3;
  logic [COPIES-1:0] room, full;
  for (genvar i = 0; i < COPIES; i++) begin : g_copy
    logic [1:0] count, in_buffer;
    logic [DEPTH-1:0][WIDTH-1:0] beats;
    scoreboard #(
        .WIDTH(WIDTH),
        .DEPTH(DEPTH)
    ) contents (
        .clk,
        .rst,
        .put      (s_valid && s_ready),
        .put_data (s_data),
        .take     (m_valid[i] && m_ready[i]),
        .take_data(m_data[i]),
        .count,
        .pieces   (beats)
    );
    stream_rule #(
        .WIDTH(WIDTH)
    ) rule (
        .clk,
        .rst,
        .valid(m_valid[i]),
        .ready(m_ready[i]),
        .data (m_data[i])
    );
    assign room[i]   = int'(count) < DEPTH;
    assign full[i]   = int'(count) == DEPTH;
    assign in_buffer = bf_fork.g_copy[i].out.properties.count;
    always_comb begin
      // Every beat is offered, at the latest two cycles after it came in.
      assert (m_valid[i] || count == 2'(bf_fork.fired));
      assert (int'(count) == int'(in_buffer) + int'(bf_fork.fired));
      assert (bf_fork.g_copy[i].out.properties.started == 2'(bf_fork.fired));
      for (int j = 0; j < DEPTH; j++) begin
        if (j < int'(in_buffer)) assert (bf_fork.g_copy[i].out.properties.beats[j] == beats[j]);
        if (bf_fork.fired && j == int'(in_buffer)) assert (bf_fork.beat == beats[j]);
      end
    end
  end
  always_comb assert (s_ready == &room);

  // To be reached: one output full, another empty.
  (* keep *) logic reached;
  assign reached = full[0] && m_valid == COPIES'(1) && !bf_fork.fired;
endmodule

bind bf_fork fork_properties #(
    .WIDTH (WIDTH),
    .COPIES(COPIES)
) properties (
    .*
);
