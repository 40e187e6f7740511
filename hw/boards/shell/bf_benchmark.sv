// Benchmark: counts the cycles and frames of a replay, and takes a signature of all outputs. `start` begins a replay of
// `count` frames. `cycles` are those from the first beat that an input takes to the last one of the last output.
`default_nettype none

module bf_benchmark #(
    parameter int                 INS   = 1,
    parameter int                 OUTS  = 1,              // outputs
    parameter logic [32*OUTS-1:0] WIDTH = {OUTS{32'd8}},  // of each: bits of a beat
    parameter logic [32*OUTS-1:0] BEATS = {OUTS{32'd8}},  // of each: beats of a frame
    parameter int                 BITS  = 8 * OUTS,       // sum of WIDTH
    parameter int                 WORDS = 1               // sum of the 32-bit words of all outputs' beats
) (
    input  wire logic                clk,
    input  wire logic                rst,
    input  wire logic                start,
    input  wire logic [        31:0] count,
    input  wire logic                again,    // frames are still to be replayed
    input  wire logic [     INS-1:0] taken,    // inputs that take a beat in this cycle
    input  wire logic [    OUTS-1:0] s_valid,
    input  wire logic [    BITS-1:0] s_data,
    output      logic                running,
    output      logic [         7:0] runs,     // replays that were started since reset
    output      logic [        31:0] left,     // frames that have not left the first output
    output      logic [        47:0] cycles,
    output      logic [32*WORDS-1:0] crc       // of every word, those of the first output in the low bits
);
  function automatic int below(input int port);  // bits of a beat of the outputs before this one
    below = 0;
    for (int i = 0; i < port; i++) below += int'(WIDTH[32*i+:32]);
  endfunction
  function automatic int words_below(input int port);
    words_below = 0;
    for (int i = 0; i < port; i++) words_below += (int'(WIDTH[32*i+:32]) + 31) / 32;
  endfunction

  logic [OUTS-1:0] done;
  logic [OUTS-1:0][31:0] each_left;
  logic begun, ended;
  assign left  = each_left[0];
  assign ended = &done;
  for (genvar i = 0; i < OUTS; i++) begin : g_output
    localparam int EACH = int'(WIDTH[32*i+:32]);
    localparam int MINE = (EACH + 31) / 32;
    bf_signature #(
        .WIDTH(EACH),
        .BEATS(int'(BEATS[32*i+:32])),
        .WORDS(MINE)
    ) signature (
        .clk,
        .clear  (start),
        .count,
        .s_valid(running && s_valid[i]),
        .s_data (s_data[below(i)+:EACH]),
        .left   (each_left[i]),
        .crc    (crc[32*words_below(i)+:32*MINE])
    );
    assign done[i] = each_left[i] == '0;
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      running <= 1'b0;
      runs    <= '0;
    end else if (start) begin
      running <= 1'b1;
      runs    <= runs + 8'd1;
    end else if (ended && !again) running <= 1'b0;
    if (rst || start) begin
      begun  <= 1'b0;
      cycles <= '0;
    end else if (running && !ended && (begun || taken != '0)) begin
      begun  <= 1'b1;
      cycles <= cycles + 48'd1;
    end
  end
endmodule
