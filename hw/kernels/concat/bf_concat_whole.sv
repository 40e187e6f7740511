// Concatenation of whole pixels: each beat has PIXELS pixels of every input with all its CHANNELS, in one type.
// Initiation interval: 1 beat per cycle. Latency: 2 cycles.
`default_nettype none

module bf_concat_whole #(
    parameter int                   INPUTS   = 2,
    parameter int                   PIXELS   = 2,
    parameter logic [32*INPUTS-1:0] CHANNELS = {INPUTS{32'd1}},
    parameter logic [32*INPUTS-1:0] IN_BITS  = {INPUTS{32'd8}},  // bits of an element
    parameter logic [32*INPUTS-1:0] IN_KIND  = '0,               // 0: unsigned; 1: two's complement; 2: bipolar
    parameter int                   IN_TOTAL = 16,               // bits of a position of all inputs
    parameter int                   TOTAL    = 2,                // sum of CHANNELS
    parameter int                   OUT_BITS = 8
) (
    input  wire logic                             clk,
    input  wire logic                             rst,
    input  wire logic [               INPUTS-1:0] s_valid,
    output      logic [               INPUTS-1:0] s_ready,
    input  wire logic [      PIXELS*IN_TOTAL-1:0] s_data,   // input 0 in the low bits
    output      logic                             m_valid,
    input  wire logic                             m_ready,
    output      logic [PIXELS*TOTAL*OUT_BITS-1:0] m_data
);
  function automatic int channels(input int index);  // of the inputs before this one
    channels = 0;
    for (int i = 0; i < index; i++) channels += int'(CHANNELS[32*i+:32]);
  endfunction
  function automatic logic [32*INPUTS-1:0] lanes();
    for (int i = 0; i < INPUTS; i++) lanes[32*i+:32] = 32'(PIXELS) * CHANNELS[32*i+:32];
  endfunction

  logic credit, fire, fired;
  bf_stream_join #(
      .INPUTS(INPUTS)
  ) positions (
      .clk,
      .rst,
      .s_valid,
      .s_ready,
      .credit,
      .fire
  );
  always_ff @(posedge clk) fired <= fire && !rst;

  logic [PIXELS*TOTAL-1:0][OUT_BITS-1:0] beats;
  logic [PIXELS-1:0][TOTAL-1:0][OUT_BITS-1:0] joined;
  bf_align_operands #(
      .INPUTS  (INPUTS),
      .LANES   (lanes()),
      .IN_BITS (IN_BITS),
      .IN_KIND (IN_KIND),
      .IN_TOTAL(PIXELS * IN_TOTAL),
      .TOTAL   (PIXELS * TOTAL),
      .OUT_BITS(OUT_BITS)
  ) inputs (
      .codes   (s_data),
      .integers(beats)
  );
  for (genvar i = 0; i < INPUTS; i++) begin : g_input
    localparam int EACH = int'(CHANNELS[32*i+:32]);
    for (genvar p = 0; p < PIXELS; p++) begin : g_position
      always_ff @(posedge clk) begin
        if (s_ready[i]) begin
          for (int e = 0; e < EACH; e++) joined[p][channels(i)+e] <= beats[PIXELS*channels(i)+p*EACH+e];
        end
      end
    end
  end

  bf_stream_out #(
      .WIDTH  (PIXELS * TOTAL * OUT_BITS),
      .CREDITS(3)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (fired),
      .data (joined),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
