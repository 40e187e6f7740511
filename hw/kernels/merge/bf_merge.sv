// Merge: for each frame a verdict of a bit. If it is 1, the BEATS beats of the early result are the frame's result. If
// it is 0, those of the late result are, and then the beats of the early one are dropped. Initiation interval: 1 verdict
// or beat per cycle. Latency: 2 cycles.
`default_nettype none

module bf_merge #(
    parameter int           LANES      = 1,         // elements of a beat
    parameter int           BEATS      = 4,         // beats of a result
    parameter int           EARLY_BITS = 8,         // bits of an element
    parameter int           LATE_BITS  = 8,
    parameter logic [127:0] EARLY_KIND = "signed",  // "unsigned" or "signed"
    parameter logic [127:0] LATE_KIND  = "signed",
    parameter int           OUT_BITS   = 8
) (
    input  wire logic                                    clk,
    input  wire logic                                    rst,
    input  wire logic [2:0]                              s_valid,
    output      logic [2:0]                              s_ready,
    input  wire logic [LANES*(EARLY_BITS+LATE_BITS):0] s_data,   // the verdict in the low bit, the late result on top
    output      logic                                    m_valid,
    input  wire logic                                    m_ready,
    output      logic [LANES*OUT_BITS-1:0]               m_data
);
  localparam int COUNT = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam logic [2:0] VERDICT = 3'b001, EARLY = 3'b010, LATE = 3'b100;

  // Whose turn it is, and the beats of its result after this one.
  logic [2:0] turn;
  logic leaves, drops, credit, fire, ends, fired;
  logic [COUNT-1:0] left;
  assign drops   = turn[0] || (turn[1] && !leaves);
  assign s_ready = drops || credit ? turn : '0;
  assign fire    = |(s_valid & s_ready);
  assign ends    = left == '0;
  always_ff @(posedge clk) begin
    if (rst) begin
      turn <= VERDICT;
      left <= '0;
    end else if (fire) begin
      left <= turn[0] || ends ? COUNT'(BEATS - 1) : left - COUNT'(1);
      if (turn[0]) turn <= s_data[0] ? EARLY : LATE;
      else if (ends) turn <= turn[2] ? EARLY : VERDICT;
    end
    if (turn[0]) leaves <= s_data[0];
    fired <= fire && !drops && !rst;
  end

  logic [LANES*OUT_BITS-1:0] early, late, beat;
  bf_widen #(
      .LANES   (LANES),
      .IN_BITS (EARLY_BITS),
      .OUT_BITS(OUT_BITS),
      .KIND    (EARLY_KIND)
  ) early_result (
      .codes   (s_data[LANES*EARLY_BITS:1]),
      .integers(early)
  );
  bf_widen #(
      .LANES   (LANES),
      .IN_BITS (LATE_BITS),
      .OUT_BITS(OUT_BITS),
      .KIND    (LATE_KIND)
  ) late_result (
      .codes   (s_data[LANES*(EARLY_BITS+LATE_BITS):LANES*EARLY_BITS+1]),
      .integers(late)
  );
  always_ff @(posedge clk) beat <= turn[1] ? early : late;

  bf_stream_out #(
      .WIDTH  (LANES * OUT_BITS),
      .CREDITS(3)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && !drops),
      .push (fired),
      .data (beat),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
