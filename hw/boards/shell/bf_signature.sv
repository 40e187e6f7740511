// CRC-32 (IEEE 802.3) of beats, for each 32 bits of a beat one of its own: word i of every beat goes into the CRC in bits
// 32 i, as four octets, the low one first. Bits above WIDTH are zeros. `clear` starts again. Counts down from `count` the
// frames of BEATS beats that it has seen. Initiation interval: 1 beat per cycle. Latency of `crc`: 2 cycles, of `left`: 1.
`default_nettype none

module bf_signature #(
    parameter int WIDTH = 8,  // bits of a beat
    parameter int BEATS = 8,  // beats of a frame
    parameter int WORDS = (WIDTH + 31) / 32
) (
    input  wire logic                clk,
    input  wire logic                clear,
    input  wire logic [        31:0] count,
    input  wire logic                s_valid,
    input  wire logic [   WIDTH-1:0] s_data,
    output      logic [        31:0] left,
    output      logic [32*WORDS-1:0] crc
);
  localparam int BEAT = $clog2(BEATS + 1);

  // Bit 32 r + i: whether bit i of the CRC, exclusive-or the word, is a term of bit r after 32 steps.
  function automatic logic [1023:0] terms();
    logic [31:0] state;
    terms = '0;
    for (int i = 0; i < 32; i++) begin
      state = 32'd1 << i;
      for (int step = 0; step < 32; step++) state = (state >> 1) ^ (state[0] ? 32'hedb88320 : 32'd0);
      for (int r = 0; r < 32; r++) terms[32*r+i] = state[r];
    end
  endfunction
  localparam logic [1023:0] TERMS = terms();

  logic valid;
  logic [32*WORDS-1:0] words;
  logic [BEAT-1:0] beat;
  always_ff @(posedge clk) begin
    words <= (32 * WORDS)'(s_data);
    valid <= s_valid && !clear;
    if (clear) begin
      beat <= '0;
      left <= count;
    end else if (s_valid) begin
      beat <= beat == BEAT'(BEATS - 1) ? '0 : beat + BEAT'(1);
      if (beat == BEAT'(BEATS - 1)) left <= left - 32'd1;
    end
  end
  for (genvar i = 0; i < WORDS; i++) begin : g_word
    logic [31:0] state, mixed, next;
    assign mixed = state ^ words[32*i+:32];
    for (genvar r = 0; r < 32; r++) begin : g_bit
      assign next[r] = ^(mixed & TERMS[32*r+:32]);
    end
    always_ff @(posedge clk) begin
      if (clear) state <= '1;
      else if (valid) state <= next;
    end
    assign crc[32*i+:32] = ~state;
  end
endmodule
