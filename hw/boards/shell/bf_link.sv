// Host link: framed messages over a UART on one side, the accelerator's streams on the other: one input and OUTS outputs,
// whose frames a result holds one after the other. hw/host/protocol.py describes the messages. A message that is damaged, of unknown type, of the wrong length, or without room for its
// frame is dropped and counted; nothing of it enters the accelerator.
`default_nettype none

module bf_link #(
    parameter int                 DIVISOR   = 32,             // clocks a bit
    parameter int                 IN_WIDTH  = 8,              // bits of an input beat
    parameter int                 IN_BEATS  = 8,              // beats of an input frame
    parameter int                 OUTS      = 1,              // outputs
    parameter logic [32*OUTS-1:0] OUT_WIDTH = {OUTS{32'd8}},  // of each: bits of a beat
    parameter logic [32*OUTS-1:0] OUT_BEATS = {OUTS{32'd8}},  // of each: beats of a frame
    parameter int                 OUT_BITS  = 8 * OUTS,       // sum of OUT_WIDTH
    parameter logic [       63:0] MODEL     = '0,             // hash of the model
    parameter int                 CLOCK_HZ  = 0,
    parameter int                 SLOTS     = 2,              // frames that the host may have under way
    parameter int                 PARITY    = 0               // 1: memories carry parity
) (
    input  wire logic                 clk,
    input  wire logic                 rst,
    input  wire logic                 rx,
    output      logic                 tx,
    output      logic                 s_valid,  // to the accelerator
    input  wire logic                 s_ready,
    output      logic [ IN_WIDTH-1:0] s_data,
    input  wire logic [     OUTS-1:0] m_valid,  // from the accelerator
    output      logic [     OUTS-1:0] m_ready,
    input  wire logic [ OUT_BITS-1:0] m_data,   // the first output in the low bits
    input  wire logic                 parity_error,
    output      logic                 busy,     // frames are under way
    output      logic                 faulty    // a message was dropped since reset
);
  localparam int IN_OCTETS = (IN_BEATS * IN_WIDTH + 7) / 8;
  function automatic int below(input int output_port);  // bits of a beat of the outputs before this one
    below = 0;
    for (int i = 0; i < output_port; i++) below += int'(OUT_WIDTH[32*i+:32]);
  endfunction
  function automatic int octets();  // of a frame of every output
    octets = 0;
    for (int i = 0; i < OUTS; i++) octets += (int'(OUT_BEATS[32*i+:32]) * int'(OUT_WIDTH[32*i+:32]) + 7) / 8;
  endfunction
  localparam int OUT_OCTETS = octets();
  localparam int HEADER = 3, CRC = 4;
  localparam int LENGTH = $clog2(HEADER + IN_OCTETS + CRC + 2);
  localparam int FLIGHT = 3;  // log2 of the frames under way at a time
  localparam logic [7:0] VERSION = 8'd2;
  localparam logic [7:0] STATUS = 8'h01, FRAME = 8'h02, REPLY = 8'h80;

  // Receiver.
  logic octet_valid, octet_error;
  logic [7:0] octet;
  logic content_valid, content_first, good, bad;
  logic [7:0] content;
  bf_uart_rx #(
      .DIVISOR(DIVISOR)
  ) receiver (
      .clk,
      .rst,
      .rx,
      .valid(octet_valid),
      .data (octet),
      .error(octet_error)
  );
  bf_deframer unpack (
      .clk,
      .rst,
      .s_valid(octet_valid),
      .s_data (octet),
      .s_error(octet_error),
      .m_valid(content_valid),
      .m_first(content_first),
      .m_data (content),
      .good,
      .bad
  );
  logic [7:0] kind;
  logic [15:0] tag;
  logic [LENGTH-1:0] length;  // octets of the present message; stops beyond the longest
  logic room, accepted, free, frame_good, status_good;
  logic [FLIGHT:0] pending;
  assign frame_good  = good && kind == FRAME && length == LENGTH'(HEADER + IN_OCTETS + CRC) && accepted;
  assign status_good = good && kind == STATUS && length == LENGTH'(HEADER + CRC);
  assign room        = free && !pending[FLIGHT];
  always_ff @(posedge clk) begin
    if (content_valid) begin
      if (content_first) begin
        kind     <= content;
        length   <= LENGTH'(1);
        accepted <= room;
      end else begin
        if (length != '1) length <= length + LENGTH'(1);
        if (length == LENGTH'(1)) tag[7:0] <= content;
        if (length == LENGTH'(2)) tag[15:8] <= content;
      end
    end
  end

  // Frames to and from the accelerator, with their tags and times in order.
  logic started, finished, some, result_valid, result_ready, result_last, replied;
  logic [7:0] result;
  bf_frame_in #(
      .WIDTH(IN_WIDTH),
      .BEATS(IN_BEATS)
  ) buffer_in (
      .clk,
      .rst,
      .free,
      .open   (content_valid && content_first && room),
      .s_valid(content_valid && !content_first && accepted && length >= LENGTH'(HEADER)),
      .s_data (content),
      .commit (frame_good),
      .started,
      .m_valid(s_valid),
      .m_ready(s_ready),
      .m_data (s_data)
  );
  localparam int TURN = OUTS > 1 ? $clog2(OUTS) : 1;
  logic [TURN-1:0] turn;  // the output that is sent
  logic [OUTS-1:0] each_finished, each_some, each_valid, each_ready, each_last;
  logic [OUTS-1:0][7:0] each_data;
  for (genvar i = 0; i < OUTS; i++) begin : g_output
    localparam int WIDTH = int'(OUT_WIDTH[32*i+:32]);
    bf_frame_out #(
        .WIDTH(WIDTH),
        .BEATS(int'(OUT_BEATS[32*i+:32]))
    ) buffer_out (
        .clk,
        .rst,
        .s_valid (m_valid[i]),
        .s_ready (m_ready[i]),
        .s_data  (m_data[below(i)+:WIDTH]),
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
    assign turn         = '0;
    assign each_ready   = result_ready;
    assign finished     = each_finished[0];
    assign result_valid = each_valid[0];
    assign result       = each_data[0];
    assign result_last  = each_last[0];
  end else begin : g_several
    // A result is finished when its frame has left every output. An output is at most two frames ahead of another one.
    logic [OUTS-1:0] there;
    for (genvar i = 0; i < OUTS; i++) begin : g_ahead
      logic [1:0] ahead;
      assign there[i] = each_finished[i] || ahead != '0;
      always_ff @(posedge clk) begin
        if (rst) ahead <= '0;
        else if (each_finished[i] && !finished) ahead <= ahead + 2'd1;
        else if (finished && !each_finished[i]) ahead <= ahead - 2'd1;
      end
      assign each_ready[i] = result_ready && turn == TURN'(i);
    end
    assign finished     = &there;
    assign result_valid = each_valid[turn];
    assign result       = each_data[turn];
    assign result_last  = each_last[turn] && turn == TURN'(OUTS - 1);
    always_ff @(posedge clk) begin
      if (rst) turn <= '0;
      else if (result_valid && result_ready && each_last[turn]) turn <= result_last ? '0 : turn + TURN'(1);
    end
  end
  logic [15:0] tags[1 << FLIGHT];
  logic [31:0] times[1 << FLIGHT];
  logic [FLIGHT-1:0] tag_in, tag_out, time_in, time_out;
  logic [31:0] now, frames, cycles, stalls, errors;
  logic dropped, finished_before;
  assign replied = result_valid && result_ready && result_last;
  assign dropped = bad || (good && !frame_good && !status_good);
  assign busy    = pending != '0;
  always_ff @(posedge clk) begin
    now <= now + 32'd1;
    if (frame_good) tags[tag_in] <= tag;
    if (started) times[time_in] <= now;
    finished_before <= finished && !rst;
    if (finished_before) cycles <= now - times[time_out];
    if (rst) begin
      tag_in   <= '0;
      tag_out  <= '0;
      time_in  <= '0;
      time_out <= '0;
      pending  <= '0;
      frames   <= '0;
      cycles   <= '0;
      stalls   <= '0;
      errors   <= '0;
      faulty   <= 1'b0;
    end else begin
      if (frame_good) tag_in <= tag_in + FLIGHT'(1);
      if (replied) tag_out <= tag_out + FLIGHT'(1);
      if (started) time_in <= time_in + FLIGHT'(1);
      if (finished_before) time_out <= time_out + FLIGHT'(1);
      if (frame_good && !replied) pending <= pending + (FLIGHT + 1)'(1);
      else if (replied && !frame_good) pending <= pending - (FLIGHT + 1)'(1);
      if (finished) frames <= frames + 32'd1;
      if (s_valid && !s_ready) stalls <= stalls + 32'd1;
      if (dropped) begin
        errors <= errors + 32'd1;
        faulty <= 1'b1;
      end
    end
  end

  logic [31:0] parity_errors;
  if (PARITY != 0) begin : g_parity
    always_ff @(posedge clk) begin
      if (rst) parity_errors <= '0;
      else if (parity_error && parity_errors != '1) parity_errors <= parity_errors + 32'd1;
    end
  end else begin : g_no_parity
    assign parity_errors = '0;
  end

  // Sender: a status reply where one was asked for, else a result where there is one.
  localparam int FIXED = 23, COUNTED = 21;  // octets of a status reply: constant ones, then counters
  localparam logic [8*FIXED-1:0] ABOUT = {
    8'(PARITY), 32'(CLOCK_HZ), 32'(OUT_OCTETS), 32'(IN_OCTETS), MODEL, 8'(SLOTS), VERSION
  };
  typedef enum logic [1:0] {
    IDLE,
    HEAD,
    BODY
  } state_t;
  state_t state;
  logic asked, status, send_valid, send_ready, send_last;
  logic [7:0] send;
  logic [15:0] asked_tag;
  logic [23:0] head;
  logic [1:0] head_left;
  logic [5:0] place;
  logic [8*COUNTED-1:0] counters;
  always_comb begin
    send_valid   = state == HEAD || (state == BODY && (status || result_valid));
    send         = head[7:0];
    send_last    = 1'b0;
    result_ready = state == BODY && !status && send_ready;
    if (state == BODY) begin
      if (!status) begin
        send      = result;
        send_last = result_last;
      end else begin
        send      = place < 6'(FIXED) ? ABOUT[8*place+:8] : counters[7:0];
        send_last = place == 6'(FIXED + COUNTED - 1);
      end
    end
  end
  always_ff @(posedge clk) begin
    if (status_good) begin
      asked     <= 1'b1;
      asked_tag <= tag;
    end
    case (state)
      IDLE: begin
        status    <= asked;
        head      <= asked ? {asked_tag, STATUS | REPLY} : {tags[tag_out], FRAME | REPLY};
        head_left <= 2'd2;
        place     <= '0;
        if (asked || some) state <= HEAD;
        if (asked && !status_good) asked <= 1'b0;
      end
      HEAD: begin
        counters <= {parity_errors, 8'(pending), errors, stalls, cycles, frames};
        if (send_ready) begin
          head      <= head >> 8;
          head_left <= head_left - 2'd1;
          if (head_left == '0) state <= BODY;
        end
      end
      default:
      if (send_valid && send_ready) begin
        place <= place + 6'd1;
        if (place >= 6'(FIXED)) counters <= counters >> 8;
        if (send_last) state <= IDLE;
      end
    endcase
    if (rst) begin
      state <= IDLE;
      asked <= 1'b0;
    end
  end
  logic line_valid, line_ready;
  logic [7:0] line;
  bf_framer pack (
      .clk,
      .rst,
      .s_valid(send_valid),
      .s_ready(send_ready),
      .s_data (send),
      .s_last (send_last),
      .m_valid(line_valid),
      .m_ready(line_ready),
      .m_data (line)
  );
  bf_uart_tx #(
      .DIVISOR(DIVISOR)
  ) transmitter (
      .clk,
      .rst,
      .valid(line_valid),
      .ready(line_ready),
      .data (line),
      .tx
  );
endmodule
