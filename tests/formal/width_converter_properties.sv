// Properties of bf_width_converter: the pieces, of the narrower side's width, leave in the order in which they came.
`default_nettype none

module width_converter_properties #(
    parameter int IN_BITS  = 8,
    parameter int OUT_BITS = 32,
    parameter int CREDITS  = 2
) (
    input wire logic                clk,
    input wire logic                rst,
    input wire logic                s_valid,
    input wire logic                s_ready,
    input wire logic [ IN_BITS-1:0] s_data,
    input wire logic                m_valid,
    input wire logic                m_ready,
    input wire logic [OUT_BITS-1:0] m_data
);
  localparam int PIECE = IN_BITS < OUT_BITS ? IN_BITS : OUT_BITS;
  localparam int PUT = IN_BITS / PIECE;
  localparam int TAKE = OUT_BITS / PIECE;
  localparam int DEPTH = PUT > 1 ? CREDITS + PUT - 1 : CREDITS * TAKE + TAKE - 1;
  localparam int COUNT = $clog2(DEPTH + 1);
  logic [COUNT-1:0] count;
  logic [DEPTH-1:0][PIECE-1:0] pieces;
  scoreboard #(
      .WIDTH(PIECE),
      .DEPTH(DEPTH),
      .PUT  (PUT),
      .TAKE (TAKE)
  ) contents (
      .clk,
      .rst,
      .put      (s_valid && s_ready),
      .put_data (s_data),
      .take     (m_valid && m_ready),
      .take_data(m_data),
      .count,
      .pieces
  );
  stream_rule #(
      .WIDTH(OUT_BITS)
  ) rule (
      .clk,
      .rst,
      .valid(m_valid),
      .ready(m_ready),
      .data (m_data)
  );

  // Invariant: the oldest pieces are in the output buffer, the others in `held`, `first` being the first of them.
  int in_buffer, waiting, first;
  logic [DEPTH-1:0][PIECE-1:0] buffered;
  assign in_buffer = TAKE * int'(bf_width_converter.out.properties.count);
  assign buffered  = (DEPTH * PIECE)'(bf_width_converter.out.properties.beats);
  always_comb begin
    assert (bf_width_converter.out.properties.started == 0);
    assert (in_buffer + waiting == int'(count));
    for (int i = 0; i < DEPTH; i++) if (i < in_buffer) assert (buffered[i] == pieces[i]);
  end
  if (PUT == TAKE) begin : g_same
    assign waiting = 0;
    assign first   = 0;
    always_comb assert (s_ready == (int'(count) < DEPTH));
  end else begin : g_steps
    localparam int RATIO = PUT * TAKE;
    int step;
    logic [RATIO-2:0][PIECE-1:0] held;
    if (TAKE > 1) begin : g_join
      assign step    = int'(bf_width_converter.g_join.step);
      assign held    = bf_width_converter.g_join.held;
      assign waiting = step;
      assign first   = RATIO - 1 - step;
      // Ready unless the piece would complete a beat that has no room.
      always_comb assert (s_ready == (int'(count) < DEPTH));
    end else begin : g_split
      assign step    = int'(bf_width_converter.g_split.step);
      assign held    = bf_width_converter.g_split.held;
      assign waiting = step == 0 ? 0 : RATIO - step;
      assign first   = 0;
      always_comb assert (s_ready == (waiting == 0 && in_buffer < CREDITS));
    end
    always_comb begin
      assert (step < RATIO);
      // Every whole beat is offered.
      assert (m_valid == (in_buffer != 0));
      for (int i = 0; i < RATIO - 1; i++)
        for (int j = 0; j < DEPTH; j++)
          if (i < waiting && j == in_buffer + i) assert (held[(first+i)%(RATIO-1)] == pieces[j]);
    end
  end

  logic left_once;
  (* keep *) logic reached;
  always_ff @(posedge clk) left_once <= !rst && (left_once || (m_valid && m_ready));
  assign reached = left_once && int'(count) == DEPTH;
endmodule

bind bf_width_converter width_converter_properties #(
    .IN_BITS (IN_BITS),
    .OUT_BITS(OUT_BITS),
    .CREDITS (CREDITS)
) properties (
    .*
);
