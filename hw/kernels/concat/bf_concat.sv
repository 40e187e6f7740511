// Concatenation along the channels: for each pixel BEATS[i] beats of input i, one input after the other, in one type.
// Initiation interval: 1 beat per cycle. Latency: 2 cycles.
`default_nettype none

module bf_concat #(
    parameter int                   INPUTS   = 2,
    parameter int                   PE       = 1,                // elements a beat, of every stream
    parameter logic [32*INPUTS-1:0] BEATS    = {INPUTS{32'd1}},  // beats of one position, of each input
    parameter logic [32*INPUTS-1:0] IN_BITS  = {INPUTS{32'd8}},  // bits of an element
    parameter logic [32*INPUTS-1:0] IN_KIND  = '0,               // 0: unsigned; 1: two's complement; 2: bipolar
    parameter int                   IN_TOTAL = 16,               // sum of IN_BITS
    parameter int                   OUT_BITS = 8
) (
    input  wire logic                   clk,
    input  wire logic                   rst,
    input  wire logic [INPUTS-1:0]      s_valid,
    output      logic [INPUTS-1:0]      s_ready,
    input  wire logic [PE*IN_TOTAL-1:0] s_data,   // input 0 in the low bits
    output      logic                   m_valid,
    input  wire logic                   m_ready,
    output      logic [PE*OUT_BITS-1:0] m_data
);
  function automatic int longest();
    longest = 1;
    for (int i = 0; i < INPUTS; i++) if (int'(BEATS[32*i+:32]) > longest) longest = int'(BEATS[32*i+:32]);
  endfunction

  // Whose turn it is, and the beats that it has after this one.
  localparam int COUNT = longest() > 1 ? $clog2(longest()) : 1;
  logic [INPUTS-1:0] turn;
  logic [COUNT-1:0] left, left_next;
  logic credit, fire, fired, last;
  assign s_ready = credit ? turn : '0;
  assign fire    = |(s_valid & s_ready);
  assign last    = left == '0;
  always_comb begin
    left_next = '0;
    for (int i = 0; i < INPUTS; i++) if (turn[i]) left_next |= COUNT'(BEATS[32*((i+1)%INPUTS)+:32] - 32'd1);
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      turn <= INPUTS'(1);
      left <= COUNT'(BEATS[31:0] - 32'd1);
    end else if (fire) begin
      if (last) turn <= {turn[INPUTS-2:0], turn[INPUTS-1]};
      left <= last ? left_next : left - COUNT'(1);
    end
  end

  logic [INPUTS-1:0][PE*OUT_BITS-1:0] beat;
  logic [PE*OUT_BITS-1:0] chosen, given;
  bf_align_operands #(
      .INPUTS  (INPUTS),
      .LANES   ({INPUTS{32'(PE)}}),
      .IN_BITS (IN_BITS),
      .IN_KIND (IN_KIND),
      .IN_TOTAL(PE * IN_TOTAL),
      .TOTAL   (INPUTS * PE),
      .OUT_BITS(OUT_BITS)
  ) inputs (
      .codes   (s_data),
      .integers(beat)
  );
  always_comb begin
    chosen = '0;
    for (int i = 0; i < INPUTS; i++) if (turn[i]) chosen |= beat[i];
  end
  always_ff @(posedge clk) begin
    fired <= fire && !rst;
    given <= chosen;
  end

  bf_stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(3)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (fired),
      .data (given),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
