// Input buffer, a ring of FRAMES frames: octets are received and checked first, and then leave as beats for the
// accelerator. A frame is BEATS * WIDTH bits, the first beat in the low bits of the first octets; spare bits of the last
// octet are ignored. `open` restarts a frame, `commit` makes it valid. Octets must be at least 8 / STEP cycles apart.
// With BENCHMARK, `replay` while the ring is empty sends `count` of the frames that it held last, the oldest first, over
// and over. Initiation interval: 1 beat per cycle. Latency from `commit` or `replay` to m_valid: 3 cycles.
`default_nettype none

module bf_frame_in #(
    parameter int WIDTH     = 8,  // bits of a beat
    parameter int BEATS     = 8,  // beats of a frame
    parameter int FRAMES    = 2,  // frames of the ring, at least 2
    parameter int STEP      = 1,  // bits of an octet per cycle: 1, 2, 4 or 8; divides WIDTH
    parameter int BENCHMARK = 0   // 1: frames can be replayed
) (
    input  wire logic             clk,
    input  wire logic             rst,
    output      logic             free,     // there is room for a frame
    input  wire logic             open,
    input  wire logic             s_valid,
    input  wire logic [      7:0] s_data,
    input  wire logic             commit,
    input  wire logic             replay,
    input  wire logic [     31:0] count,
    output      logic             again,    // frames are still to be replayed
    output      logic             started,  // the first beat of a frame is taken in this cycle
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [WIDTH-1:0] m_data
);
`ifndef __ICARUS__
  if (WIDTH % STEP != 0 || 8 % STEP != 0) begin : g_check
    $error("bf_frame_in: STEP must divide 8 and WIDTH");
  end
`endif
  localparam int PIECES = BEATS * WIDTH / STEP;  // of STEP bits
  localparam int LEFT = $clog2(PIECES + 1);
  localparam int FILLED = $clog2(WIDTH / STEP + 1);
  localparam int BEAT = $clog2(BEATS + 1);
  localparam int HELD = $clog2(FRAMES + 1);
  localparam int DEPTH = FRAMES * BEATS;
  localparam int ADDRESS = $clog2(DEPTH);

  (* no_rw_check *) logic [WIDTH-1:0] mem[DEPTH];
  logic [HELD-1:0] held;  // valid frames that have not been read to the end
  logic [ADDRESS-1:0] first, to, from;  // of the frame that is received; the next to write and to read
  assign free = held != HELD'(FRAMES);

  function automatic logic [ADDRESS-1:0] after(input logic [ADDRESS-1:0] address);
    return address == ADDRESS'(DEPTH - 1) ? '0 : address + ADDRESS'(1);
  endfunction

  // From octets, STEP bits at a time, to beats.
  logic [7:0] octet;
  logic [3:0] steps;
  logic [LEFT-1:0] left;  // pieces of the frame still to come
  logic [FILLED-1:0] filled;
  logic [WIDTH-1:0] word;
  logic shift, store;
  assign shift = steps != '0 && left != '0;
  always_ff @(posedge clk) if (store) mem[to] <= word;
  always_ff @(posedge clk) begin
    store <= shift && filled == FILLED'(WIDTH / STEP - 1);
    if (s_valid) begin
      octet <= s_data;
      steps <= 4'(8 / STEP);
    end else if (steps != '0) begin
      octet <= octet >> STEP;
      steps <= steps - 4'd1;
    end
    if (shift) begin
      word   <= WIDTH'({octet[STEP-1:0], word} >> STEP);
      left   <= left - LEFT'(1);
      filled <= filled == FILLED'(WIDTH / STEP - 1) ? '0 : filled + FILLED'(1);
    end
    if (store) to <= after(to);
    if (rst || open) begin
      steps  <= '0;
      left   <= LEFT'(PIECES);
      filled <= '0;
      to     <= rst ? '0 : first;
    end
  end

  // Beats to the accelerator, through two registers because the memory may be a slow block RAM.
  logic fetch, last, read_valid, move, give, ended;
  logic [BEAT-1:0] read_beat;
  logic [WIDTH-1:0] read;
  assign give  = !m_valid || m_ready;
  assign move  = !read_valid || give;
  assign fetch = move && (held != '0 || again);
  assign last  = read_beat == BEAT'(BEATS - 1);
  if (BENCHMARK != 0) begin : g_replay
    logic [31:0] rest;  // frames that are still to be replayed
    assign again = rest != '0;
    assign ended = rest == 32'd1 && fetch && last;
    always_ff @(posedge clk) begin
      if (rst) rest <= '0;
      else if (replay) rest <= count;
      else if (again && fetch && last) rest <= rest - 32'd1;
    end
  end else begin : g_no_replay
    assign again = 1'b0;
    assign ended = 1'b0;
  end
  always_ff @(posedge clk) if (move) read <= mem[from];
  always_ff @(posedge clk) begin
    if (give) m_data <= read;
    if (rst) begin
      m_valid    <= 1'b0;
      read_valid <= 1'b0;
      held       <= '0;
      first      <= '0;
      from       <= '0;
      read_beat  <= '0;
    end else begin
      if (give) m_valid <= read_valid;
      if (move) read_valid <= fetch;
      if (fetch) begin
        from      <= after(from);
        read_beat <= last ? '0 : read_beat + BEAT'(1);
      end
      if (commit && !(fetch && last)) held <= held + HELD'(1);
      else if (!commit && fetch && last && !again) held <= held - HELD'(1);
      if (commit) first <= to;
      else if (ended) first <= after(from);
    end
  end

  logic [BEAT-1:0] taken;  // beats of the present frame that the accelerator has
  assign started = m_valid && m_ready && taken == '0;
  always_ff @(posedge clk) begin
    if (rst) taken <= '0;
    else if (m_valid && m_ready) taken <= taken == BEAT'(BEATS - 1) ? '0 : taken + BEAT'(1);
  end
endmodule
