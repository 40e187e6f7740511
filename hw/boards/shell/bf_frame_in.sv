// Input buffer of two frames: octets are received and checked first, and then leave as beats for the accelerator. A
// frame is BEATS * WIDTH bits, the first beat in the low bits of the first octets; spare bits of the last octet are
// ignored. `open` restarts a frame, `commit` makes it valid. Octets must be at least 10 cycles apart.
// Initiation interval: 1 beat per cycle. Latency from `commit` to m_valid: 3 cycles.
`default_nettype none

module bf_frame_in #(
    parameter int WIDTH = 8,  // bits of a beat
    parameter int BEATS = 8   // beats of a frame
) (
    input  wire logic             clk,
    input  wire logic             rst,
    output      logic             free,     // there is room for a frame
    input  wire logic             open,
    input  wire logic             s_valid,
    input  wire logic [      7:0] s_data,
    input  wire logic             commit,
    output      logic             started,  // the first beat of a frame is taken in this cycle
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [WIDTH-1:0] m_data
);
  localparam int BITS = BEATS * WIDTH;
  localparam int POSITION = $clog2(BITS + 1);
  localparam int PLACE = $clog2(WIDTH + 1);
  localparam int BEAT = $clog2(BEATS + 1);
  localparam int IN_SLOT = $clog2(BEATS);  // bits of a beat's place in a frame
  localparam int ADDRESS = IN_SLOT + 1;

  (* no_rw_check *) logic [WIDTH-1:0] mem[2 << IN_SLOT];
  logic [1:0] full;
  logic write_slot, read_slot;
  assign free = !full[write_slot];

  // From octets, bit by bit, to beats.
  logic [7:0] octet;
  logic [3:0] steps;
  logic [POSITION-1:0] left;  // bits of the frame still to come
  logic [PLACE-1:0] filled;
  logic [BEAT-1:0] write_beat;
  logic [WIDTH-1:0] word;
  logic shift, store;
  assign shift = steps != '0 && left != '0;
  logic [ADDRESS-1:0] to;
  assign to = ADDRESS'(write_slot) << IN_SLOT | ADDRESS'(write_beat);
  always_ff @(posedge clk) if (store) mem[to] <= word;
  always_ff @(posedge clk) begin
    store <= shift && filled == PLACE'(WIDTH - 1);
    if (s_valid) begin
      octet <= s_data;
      steps <= 4'd8;
    end else if (steps != '0) begin
      octet <= octet >> 1;
      steps <= steps - 4'd1;
    end
    if (shift) begin
      word   <= WIDTH'({octet[0], word} >> 1);
      left   <= left - POSITION'(1);
      filled <= filled == PLACE'(WIDTH - 1) ? '0 : filled + PLACE'(1);
    end
    if (store) write_beat <= write_beat + BEAT'(1);
    if (rst || open) begin
      steps      <= '0;
      left       <= POSITION'(BITS);
      filled     <= '0;
      write_beat <= '0;
    end
  end

  // Beats to the accelerator, through two registers because the memory may be a slow block RAM.
  logic fetch, last, read_valid, move, give;
  logic [BEAT-1:0] read_beat;
  logic [WIDTH-1:0] read;
  assign give  = !m_valid || m_ready;
  assign move  = !read_valid || give;
  assign fetch = move && full[read_slot];
  assign last  = read_beat == BEAT'(BEATS - 1);
  logic [ADDRESS-1:0] from;
  assign from = ADDRESS'(read_slot) << IN_SLOT | ADDRESS'(read_beat);
  always_ff @(posedge clk) if (move) read <= mem[from];
  always_ff @(posedge clk) begin
    if (give) m_data <= read;
    if (rst) begin
      m_valid    <= 1'b0;
      read_valid <= 1'b0;
      full       <= '0;
      write_slot <= 1'b0;
      read_slot  <= 1'b0;
      read_beat  <= '0;
    end else begin
      if (give) m_valid <= read_valid;
      if (move) read_valid <= fetch;
      if (fetch) read_beat <= last ? '0 : read_beat + BEAT'(1);
      if (fetch && last) begin
        full[read_slot] <= 1'b0;
        read_slot <= !read_slot;
      end
      if (commit) begin
        full[write_slot] <= 1'b1;
        write_slot <= !write_slot;
      end
    end
  end

  logic [BEAT-1:0] taken;  // beats of the present frame that the accelerator has
  assign started = m_valid && m_ready && taken == '0;
  always_ff @(posedge clk) begin
    if (rst) taken <= '0;
    else if (m_valid && m_ready) taken <= taken == BEAT'(BEATS - 1) ? '0 : taken + BEAT'(1);
  end
endmodule
