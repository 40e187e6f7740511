// Output buffer of two frames: stores the accelerator's beats and sends whole frames octet by octet. A frame is BEATS *
// WIDTH bits, the first beat in the low bits of the first octets; zeros fill the last octet.
// Initiation interval: 1 input beat per cycle; an octet takes 8 / STEP + 1 cycles, and one more for each beat in it.
`default_nettype none

module bf_frame_out #(
    parameter int WIDTH = 8,  // bits of a beat
    parameter int BEATS = 8,  // beats of a frame
    parameter int STEP  = 1   // bits of an octet per cycle: 1, 2, 4 or 8; divides WIDTH
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             s_valid,
    output      logic             s_ready,
    input  wire logic [WIDTH-1:0] s_data,
    output      logic             finished,  // the last beat of a frame is taken in this cycle
    output      logic             some,      // there is a whole frame
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [      7:0] m_data,
    output      logic             m_last
);
`ifndef __ICARUS__
  if (WIDTH % STEP != 0 || 8 % STEP != 0) begin : g_check
    $error("bf_frame_out: STEP must divide 8 and WIDTH");
  end
`endif
  localparam int OCTETS = (BEATS * WIDTH + 7) / 8;
  localparam int PLACE = $clog2(WIDTH / STEP + 1);
  localparam int BEAT = $clog2(BEATS + 1);
  localparam int OCTET = $clog2(OCTETS + 1);
  localparam int IN_SLOT = $clog2(BEATS);  // bits of a beat's place in a frame
  localparam int ADDRESS = IN_SLOT + 1;

  (* no_rw_check *) logic [WIDTH-1:0] mem[2 << IN_SLOT];
  logic [1:0] full;
  logic write_slot, read_slot, put;
  logic [BEAT-1:0] write_beat;
  assign s_ready  = !full[write_slot];
  assign put      = s_valid && s_ready;
  assign finished = put && write_beat == BEAT'(BEATS - 1);
  logic [ADDRESS-1:0] to;
  assign to = ADDRESS'(write_slot) << IN_SLOT | ADDRESS'(write_beat);
  always_ff @(posedge clk) if (put) mem[to] <= s_data;

  // From beats, STEP bits at a time, to octets. `some` goes on until the frame's last octet is taken.
  logic [BEAT-1:0] read_beat;
  logic [WIDTH-1:0] read, word;
  logic [PLACE-1:0] filled;  // pieces of STEP bits left in `word`
  logic [1:0] wait_read;
  logic [3:0] steps;
  logic [OCTET-1:0] sent;
  logic done, empty;
  assign some   = full[read_slot];
  assign m_last = sent == OCTET'(OCTETS - 1);
  assign done   = m_valid && m_ready && m_last;
  assign empty  = filled == '0 && read_beat != BEAT'(BEATS);
  logic [ADDRESS-1:0] from;  // behind the last beat: of another one, which is not used
  assign from = ADDRESS'(read_slot) << IN_SLOT | ADDRESS'(read_beat);
  always_ff @(posedge clk) read <= mem[from];
  always_ff @(posedge clk) begin
    wait_read <= {wait_read[0], 1'b1};
    if (rst || done || !some) begin
      read_beat <= '0;
      filled    <= '0;
      steps     <= 4'(8 / STEP);
      sent      <= '0;
      m_valid   <= 1'b0;
      wait_read <= '0;
    end else if (m_valid) begin
      if (m_ready) begin
        m_valid <= 1'b0;
        steps   <= 4'(8 / STEP);
        sent    <= sent + OCTET'(1);
      end
    end else if (empty) begin
      if (wait_read[1]) begin
        word      <= read;
        filled    <= PLACE'(WIDTH / STEP);
        read_beat <= read_beat + BEAT'(1);
        wait_read <= '0;
      end
    end else begin
      m_data  <= 8'({filled != '0 ? word[STEP-1:0] : STEP'(0), m_data} >> STEP);
      word    <= word >> STEP;
      filled  <= filled == '0 ? '0 : filled - PLACE'(1);
      steps   <= steps - 4'd1;
      m_valid <= steps == 4'd1;
    end
    if (rst) begin
      full       <= '0;
      write_slot <= 1'b0;
      read_slot  <= 1'b0;
      write_beat <= '0;
    end else begin
      if (put) write_beat <= finished ? '0 : write_beat + BEAT'(1);
      if (finished) begin
        full[write_slot] <= 1'b1;
        write_slot <= !write_slot;
      end
      if (done) begin
        full[read_slot] <= 1'b0;
        read_slot <= !read_slot;
      end
    end
  end
endmodule
