// The accelerator's outputs behind the host link: a buffer for each, from which a result leaves as octets, a frame of
// every output one after the other. With several outputs, each frame has the number of its output in the octet before
// it. `finished`: the last beat of a frame is taken, from the last output that gives it.
`default_nettype none

module bf_outputs #(
    parameter int                 OUTS  = 1,              // outputs
    parameter logic [32*OUTS-1:0] WIDTH = {OUTS{32'd8}},  // of each: bits of a beat
    parameter logic [32*OUTS-1:0] BEATS = {OUTS{32'd8}},  // of each: beats of a frame
    parameter logic [32*OUTS-1:0] STEP  = {OUTS{32'd1}},  // of each: bits of an octet per cycle
    parameter int                 BITS  = 8 * OUTS        // sum of WIDTH
) (
    input  wire logic            clk,
    input  wire logic            rst,
    input  wire logic [OUTS-1:0] s_valid,
    output      logic [OUTS-1:0] s_ready,
    input  wire logic [BITS-1:0] s_data,    // the first output in the low bits
    output      logic            finished,
    output      logic            some,      // there is a whole result
    output      logic            m_valid,
    input  wire logic            m_ready,
    output      logic [     7:0] m_data,
    output      logic            m_last
);
  function automatic int below(input int port);  // bits of a beat of the outputs before this one
    below = 0;
    for (int i = 0; i < port; i++) below += int'(WIDTH[32*i+:32]);
  endfunction

  logic [OUTS-1:0] each_finished, each_some, each_valid, each_ready, each_last;
  logic [OUTS-1:0][7:0] each_data;
  for (genvar i = 0; i < OUTS; i++) begin : g_output
    localparam int EACH = int'(WIDTH[32*i+:32]);
    bf_frame_out #(
        .WIDTH(EACH),
        .BEATS(int'(BEATS[32*i+:32])),
        .STEP (int'(STEP[32*i+:32]))
    ) buffer_out (
        .clk,
        .rst,
        .s_valid (s_valid[i]),
        .s_ready (s_ready[i]),
        .s_data  (s_data[below(i)+:EACH]),
        .finished(each_finished[i]),
        .some    (each_some[i]),
        .m_valid (each_valid[i]),
        .m_ready (each_ready[i]),
        .m_data  (each_data[i]),
        .m_last  (each_last[i])
    );
  end
  assign some = &each_some;
  if (OUTS == 1) begin : g_one
    assign each_ready = m_ready;
    assign finished   = each_finished[0];
    assign m_valid    = each_valid[0];
    assign m_data     = each_data[0];
    assign m_last     = each_last[0];
  end else begin : g_several
    // A result is finished when its frame has left every output. An output is at most two frames ahead of another one.
    localparam int TURN = $clog2(OUTS);
    logic [OUTS-1:0] there;
    logic [TURN-1:0] turn;  // the output that is sent
    logic number;  // its number is next
    for (genvar i = 0; i < OUTS; i++) begin : g_ahead
      logic [1:0] ahead;
      assign there[i] = each_finished[i] || ahead != '0;
      always_ff @(posedge clk) begin
        if (rst) ahead <= '0;
        else if (each_finished[i] && !finished) ahead <= ahead + 2'd1;
        else if (finished && !each_finished[i]) ahead <= ahead - 2'd1;
      end
      assign each_ready[i] = m_ready && !number && turn == TURN'(i);
    end
    assign finished = &there;
    assign m_valid  = number ? each_some[turn] : each_valid[turn];
    assign m_data   = number ? 8'(turn) : each_data[turn];
    assign m_last   = !number && each_last[turn] && turn == TURN'(OUTS - 1);
    always_ff @(posedge clk) begin
      if (rst) begin
        turn   <= '0;
        number <= 1'b1;
      end else if (m_valid && m_ready) begin
        number <= !number && each_last[turn];
        if (!number && each_last[turn]) turn <= m_last ? '0 : turn + TURN'(1);
      end
    end
  end
endmodule
