// Host link: framed messages as octets on one side, the accelerator's streams on the other. hw/host/protocol.py describes
// the messages. A message that is damaged, of unknown type, of the wrong length, or without room for its frames is
// dropped and counted; nothing of it enters the accelerator. Octets are taken at least PACE = 8 / RX_STEP + 2 cycles apart.
// With BENCHMARK, the last frames can be replayed at full rate, with a signature of the outputs.
`default_nettype none

module bf_link #(
    parameter int                 RX_STEP   = 1,              // bits of a received octet per cycle: 1, 2, 4 or 8
    parameter int                 TX_STEP   = 1,              // bits of the CRC of a reply per cycle: 1, 2, 4 or 8
    parameter int                 FILL      = 0,              // 1: octets 0x7f are escaped in replies
    parameter int                 INS       = 1,              // inputs
    parameter logic [ 32*INS-1:0] IN_WIDTH  = {INS{32'd8}},   // of each: bits of a beat
    parameter logic [ 32*INS-1:0] IN_BEATS  = {INS{32'd8}},   // of each: beats of a frame
    parameter int                 IN_BITS   = 8 * INS,        // sum of IN_WIDTH
    parameter int                 OUTS      = 1,              // outputs
    parameter logic [32*OUTS-1:0] OUT_WIDTH = {OUTS{32'd8}},  // of each: bits of a beat
    parameter logic [32*OUTS-1:0] OUT_BEATS = {OUTS{32'd8}},  // of each: beats of a frame
    parameter logic [32*OUTS-1:0] OUT_STEP  = {OUTS{32'd1}},  // of each: bits of an octet per cycle
    parameter int                 OUT_BITS  = 8 * OUTS,       // sum of OUT_WIDTH
    parameter logic [       63:0] MODEL     = '0,             // hash of the model
    parameter int                 CLOCK_HZ  = 0,
    parameter int                 SLOTS     = 2,              // frames that the host may have under way
    parameter int                 PARITY    = 0,              // 1: memories carry parity
    parameter int                 BENCHMARK = 0               // frames of each input that can be replayed; 0: none
) (
    input  wire logic                clk,
    input  wire logic                rst,
    input  wire logic                rx_valid,  // from the transport
    output      logic                rx_ready,
    input  wire logic [         7:0] rx_data,
    input  wire logic                rx_error,  // an octet was lost
    output      logic                tx_valid,  // to the transport
    input  wire logic                tx_ready,
    output      logic [         7:0] tx_data,
    output      logic [     INS-1:0] s_valid,   // to the accelerator
    input  wire logic [     INS-1:0] s_ready,
    output      logic [ IN_BITS-1:0] s_data,    // the first input in the low bits
    input  wire logic [    OUTS-1:0] m_valid,   // from the accelerator
    output      logic [    OUTS-1:0] m_ready,
    input  wire logic [OUT_BITS-1:0] m_data,    // the first output in the low bits
    input  wire logic                parity_error,
    output      logic                busy,      // frames are under way
    output      logic                faulty     // a message was dropped since reset
);
  localparam int PACE = 8 / RX_STEP + 2;
  localparam int HEADER = 3, CRC = 4, COUNT = 4;
  function automatic int in_octets();  // of a frame of every input, with their numbers where there are several
    in_octets = INS > 1 ? INS : 0;
    for (int i = 0; i < INS; i++) in_octets += (int'(IN_BEATS[32*i+:32]) * int'(IN_WIDTH[32*i+:32]) + 7) / 8;
  endfunction
  function automatic int out_octets();
    out_octets = OUTS > 1 ? OUTS : 0;
    for (int i = 0; i < OUTS; i++) out_octets += (int'(OUT_BEATS[32*i+:32]) * int'(OUT_WIDTH[32*i+:32]) + 7) / 8;
  endfunction
  function automatic int out_words();  // 32-bit words of a beat of every output
    out_words = 0;
    for (int i = 0; i < OUTS; i++) out_words += (int'(OUT_WIDTH[32*i+:32]) + 31) / 32;
  endfunction
  localparam int IN_OCTETS = in_octets(), OUT_OCTETS = out_octets(), WORDS = out_words();
  localparam int LONGEST = IN_OCTETS > COUNT ? IN_OCTETS : COUNT;
  localparam int LENGTH = $clog2(HEADER + LONGEST + CRC + 2);
  localparam int FLIGHT = 3;  // log2 of the frames under way at a time
  localparam logic [7:0] VERSION = 8'd3;
  localparam logic [7:0] STATUS = 8'h01, FRAME = 8'h02, REPLAY = 8'h04;

  // Receiver.
  logic [$clog2(PACE)-1:0] wait_rx;
  logic content_valid, content_first, good, bad;
  logic [7:0] content;
  assign rx_ready = wait_rx == '0;
  always_ff @(posedge clk) begin
    if (rst) wait_rx <= '0;
    else if (rx_valid && rx_ready) wait_rx <= ($clog2(PACE))'(PACE - 1);
    else if (wait_rx != '0) wait_rx <= wait_rx - ($clog2(PACE))'(1);
  end
  bf_deframer #(
      .STEP(RX_STEP)
  ) unpack (
      .clk,
      .rst,
      .s_valid(rx_valid && rx_ready),
      .s_data (rx_data),
      .s_error(rx_error),
      .m_valid(content_valid),
      .m_first(content_first),
      .m_data (content),
      .good,
      .bad
  );
  logic [7:0] kind;
  logic [15:0] tag;
  logic [LENGTH-1:0] length;  // octets of the present message; stops beyond the longest
  logic room, accepted, free, wrong, frame_good, status_good, replay_good;
  logic running, again;
  logic [FLIGHT:0] pending;
  assign frame_good  = good && kind == FRAME && length == LENGTH'(HEADER + IN_OCTETS + CRC) && accepted && !wrong;
  assign status_good = good && kind == STATUS && length == LENGTH'(HEADER + CRC);
  assign room        = free && !pending[FLIGHT] && !running;
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
  logic started, finished, some, result_valid, result_ready, result_last, replied, replay;
  logic [7:0] result;
  logic [31:0] count;
  logic [OUTS-1:0] out_valid, out_ready;
  assign out_valid = running ? '0 : m_valid;
  assign m_ready   = running ? '1 : out_ready;
  bf_inputs #(
      .INS      (INS),
      .WIDTH    (IN_WIDTH),
      .BEATS    (IN_BEATS),
      .STEP     (RX_STEP),
      .BITS     (IN_BITS),
      .BENCHMARK(BENCHMARK)
  ) inputs (
      .clk,
      .rst,
      .free,
      .open   (content_valid && content_first && room),
      .s_valid(content_valid && !content_first && accepted && kind == FRAME && length >= LENGTH'(HEADER)),
      .s_data (content),
      .commit (frame_good),
      .wrong,
      .replay,
      .count,
      .running,
      .again,
      .started,
      .m_valid(s_valid),
      .m_ready(s_ready),
      .m_data (s_data)
  );
  bf_outputs #(
      .OUTS (OUTS),
      .WIDTH(OUT_WIDTH),
      .BEATS(OUT_BEATS),
      .STEP (OUT_STEP),
      .BITS (OUT_BITS)
  ) outputs (
      .clk,
      .rst,
      .s_valid(out_valid),
      .s_ready(out_ready),
      .s_data (m_data),
      .finished,
      .some,
      .m_valid(result_valid),
      .m_ready(result_ready),
      .m_data (result),
      .m_last (result_last)
  );
  logic [15:0] tags[1 << FLIGHT];
  logic [31:0] times[1 << FLIGHT];
  logic [FLIGHT-1:0] tag_in, tag_out, time_in, time_out;
  logic [31:0] now, frames, cycles, stalls, errors;
  logic dropped, finished_before, timed;
  assign replied = result_valid && result_ready && result_last;
  assign dropped = bad || (good && !frame_good && !status_good && !replay_good);
  assign busy    = pending != '0 || running;
  assign timed   = started && !running;
  always_ff @(posedge clk) begin
    now <= now + 32'd1;
    if (frame_good) tags[tag_in] <= tag;
    if (timed) times[time_in] <= now;
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
      if (timed) time_in <= time_in + FLIGHT'(1);
      if (finished_before) time_out <= time_out + FLIGHT'(1);
      if (frame_good && !replied) pending <= pending + (FLIGHT + 1)'(1);
      else if (replied && !frame_good) pending <= pending - (FLIGHT + 1)'(1);
      if (finished) frames <= frames + 32'd1;
      if (!running && (s_valid & ~s_ready) != '0) stalls <= stalls + 32'd1;
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

  // Benchmark.
  localparam int STATE = BENCHMARK != 0 ? 12 : 0, CRCS = BENCHMARK != 0 ? 4 * WORDS : 1;
  logic [8*CRCS-1:0] crc;
  logic [95:0] bench;
  if (BENCHMARK != 0) begin : g_benchmark
    logic [ 7:0] runs;
    logic [31:0] left;
    logic [47:0] taken;
    assign replay_good = good && kind == REPLAY && length == LENGTH'(HEADER + COUNT + CRC);
    assign replay      = replay_good && count != '0 && pending == '0 && !running;
    assign bench       = {taken, left, runs, 8'(running)};
    always_ff @(posedge clk) begin
      if (content_valid && !content_first && length >= LENGTH'(HEADER) && length < LENGTH'(HEADER + COUNT))
        count <= {content, count[31:8]};
    end
    bf_benchmark #(
        .INS  (INS),
        .OUTS (OUTS),
        .WIDTH(OUT_WIDTH),
        .BEATS(OUT_BEATS),
        .BITS (OUT_BITS),
        .WORDS(WORDS)
    ) benchmark (
        .clk,
        .rst,
        .start  (replay),
        .count,
        .again,
        .taken  (s_valid & s_ready),
        .s_valid(m_valid),
        .s_data (m_data),
        .running,
        .runs,
        .left,
        .cycles (taken),
        .crc
    );
  end else begin : g_no_benchmark
    assign replay_good = 1'b0;
    assign replay      = 1'b0;
    assign count       = '0;
    assign running     = 1'b0;
    assign bench       = '0;
    assign crc         = '0;
  end

  // Sender.
  localparam int FIXED = 27, COUNTED = 21;  // octets of a status reply: constant ones, then counters
  localparam logic [8*FIXED-1:0] ABOUT = {
    16'(BENCHMARK),
    8'(OUTS),
    8'(INS),
    8'(PARITY),
    32'(CLOCK_HZ),
    32'(OUT_OCTETS),
    32'(IN_OCTETS),
    MODEL,
    8'(SLOTS),
    VERSION
  };
  logic send_valid, send_ready, send_last;
  logic [7:0] send;
  bf_reply #(
      .FIXED  (FIXED),
      .ABOUT  (ABOUT),
      .COUNTED(COUNTED),
      .STATE  (STATE),
      .CRCS   (CRCS)
  ) answer (
      .clk,
      .rst,
      .ask_status   (status_good),
      .ask_benchmark(replay_good),
      .ask_tag      (tag),
      .counters     ({parity_errors, running ? 8'hff : 8'(pending), errors, stalls, cycles, frames}),
      .bench        ({{8 * COUNTED - 96{1'b0}}, bench}),
      .crc,
      .some,
      .tag          (tags[tag_out]),
      .s_valid      (result_valid),
      .s_ready      (result_ready),
      .s_data       (result),
      .s_last       (result_last),
      .m_valid      (send_valid),
      .m_ready      (send_ready),
      .m_data       (send),
      .m_last       (send_last)
  );
  bf_framer #(
      .STEP(TX_STEP),
      .FILL(FILL)
  ) pack (
      .clk,
      .rst,
      .s_valid(send_valid),
      .s_ready(send_ready),
      .s_data (send),
      .s_last (send_last),
      .m_valid(tx_valid),
      .m_ready(tx_ready),
      .m_data (tx_data)
  );
endmodule
