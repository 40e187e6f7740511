// The accelerator's inputs behind the host link: puts the octets of a message's frames into one buffer per input. With
// several inputs, each frame has the number of its input in the octet before it, 0, 1, ... in order; `wrong` tells of
// another number. `open` begins a message, `commit` makes its frames valid. `started`: the first beat of a frame is
// taken, by the first input that takes it. BENCHMARK is 0, or the frames of each input that `replay` repeats.
`default_nettype none

module bf_inputs #(
    parameter int                INS       = 1,             // inputs
    parameter logic [32*INS-1:0] WIDTH     = {INS{32'd8}},  // of each: bits of a beat
    parameter logic [32*INS-1:0] BEATS     = {INS{32'd8}},  // of each: beats of a frame
    parameter int                STEP      = 1,             // bits of an octet per cycle: 1, 2, 4 or 8; divides all WIDTH
    parameter int                BITS      = 8 * INS,       // sum of WIDTH
    parameter int                BENCHMARK = 0
) (
    input  wire logic            clk,
    input  wire logic            rst,
    output      logic            free,     // there is room for a frame of every input
    input  wire logic            open,
    input  wire logic            s_valid,
    input  wire logic [     7:0] s_data,
    input  wire logic            commit,
    output      logic            wrong,
    input  wire logic            replay,
    input  wire logic [    31:0] count,
    input  wire logic            running,  // a replay is under way
    output      logic            again,    // frames are still to be replayed
    output      logic            started,
    output      logic [ INS-1:0] m_valid,
    input  wire logic [ INS-1:0] m_ready,
    output      logic [BITS-1:0] m_data    // the first input in the low bits
);
  localparam int FRAMES = BENCHMARK > 2 ? BENCHMARK : 2;
  function automatic int below(input int port);  // bits of a beat of the inputs before this one
    below = 0;
    for (int i = 0; i < port; i++) below += int'(WIDTH[32*i+:32]);
  endfunction
  function automatic int longest();  // octets of the longest frame
    longest = 0;
    for (int i = 0; i < INS; i++) begin
      if ((int'(BEATS[32*i+:32]) * int'(WIDTH[32*i+:32]) + 7) / 8 > longest)
        longest = (int'(BEATS[32*i+:32]) * int'(WIDTH[32*i+:32]) + 7) / 8;
    end
  endfunction

  logic [INS-1:0] each_free, each_again, each_started, each_valid;
  assign free  = &each_free;
  assign again = |each_again;
  for (genvar i = 0; i < INS; i++) begin : g_input
    localparam int EACH = int'(WIDTH[32*i+:32]);
    bf_frame_in #(
        .WIDTH    (EACH),
        .BEATS    (int'(BEATS[32*i+:32])),
        .FRAMES   (FRAMES),
        .STEP     (STEP),
        .BENCHMARK(int'(BENCHMARK != 0))
    ) buffer_in (
        .clk,
        .rst,
        .free   (each_free[i]),
        .open,
        .s_valid(each_valid[i]),
        .s_data,
        .commit,
        .replay,
        .count,
        .again  (each_again[i]),
        .started(each_started[i]),
        .m_valid(m_valid[i]),
        .m_ready(m_ready[i]),
        .m_data (m_data[below(i)+:EACH])
    );
  end
  if (INS == 1) begin : g_one
    assign each_valid = s_valid;
    assign wrong      = 1'b0;
    assign started    = each_started[0];
  end else begin : g_several
    localparam int PORT = $clog2(INS + 1);
    localparam int LEFT = $clog2(longest() + 1);
    logic [PORT-1:0] port;  // whose frame comes, or is next
    logic [LEFT-1:0] left;  // its octets to come; 0: the number of the input comes
    logic [INS-1:0][LEFT-1:0] each_octets;  // of a frame; 0 for other ports
    logic other;
    logic [LEFT-1:0] octets;
    always_comb begin
      octets = '0;
      for (int i = 0; i < INS; i++) octets |= each_octets[i];
    end
    for (genvar i = 0; i < INS; i++) begin : g_port
      assign each_octets[i] = port != PORT'(i) ? '0 : LEFT'((int'(BEATS[32*i+:32]) * int'(WIDTH[32*i+:32]) + 7) / 8);
      assign each_valid[i]  = s_valid && left != '0 && port == PORT'(i);
    end
    assign wrong = other;
    always_ff @(posedge clk) begin
      if (rst || open) begin
        port  <= '0;
        left  <= '0;
        other <= 1'b0;
      end else if (s_valid && port != PORT'(INS)) begin
        if (left == '0) begin
          left <= octets;
          if (s_data != 8'(port)) other <= 1'b1;
        end else begin
          left <= left - LEFT'(1);
          if (left == LEFT'(1)) port <= port + PORT'(1);
        end
      end
    end

    // A frame has started when the first input starts it. An input is behind by at most the frames of its buffer
    // and of the registers behind it.
    localparam int BEHIND = $clog2(FRAMES + 3);
    logic [INS-1:0] newest;
    for (genvar i = 0; i < INS; i++) begin : g_behind
      logic [BEHIND-1:0] behind;  // frames that another input has started and this one has not
      assign newest[i] = each_started[i] && behind == '0;
      always_ff @(posedge clk) begin
        if (rst || running) behind <= '0;
        else if (started && !each_started[i]) behind <= behind + BEHIND'(1);
        else if (each_started[i] && !started) behind <= behind - BEHIND'(1);
      end
    end
    assign started = |newest;
  end
endmodule
