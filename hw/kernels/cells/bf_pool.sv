// Pooling: maxima or sums of KH x KW windows that do not overlap, of each channel alone, on an image of ROWS x COLUMNS
// positions of STEPS beats. The rest of each row, and of the image, is dropped. A position may be ELEMENTS of them of each of
// WINDOWS windows side by side, which are joined first.
// A window's KW columns are reduced first and its KH rows after that; so there is an accumulator for each channel, and
// one for each element of a row of windows. Initiation interval: 1 beat a cycle. Latency: 2 cycles, GATHER, ACROSS and DOWN.
`default_nettype none

module bf_pool #(
    parameter int    PE           = 1,           // channels a beat
    parameter int    ELEMENTS       = 1,           // elements of each, to be joined
    parameter int    WINDOWS        = 1,           // windows
    parameter int    STEPS        = 4,           // beats of a position's channels
    parameter int    ROWS         = 4,
    parameter int    COLUMNS      = 4,
    parameter int    KH           = 2,           // rows and columns of a window
    parameter int    KW           = 2,
    parameter int    IN_BITS      = 8,           // bits of an element
    parameter string IN_KIND      = "unsigned",  // and how they stand for an integer, as in bf_widen
    parameter int    ACROSS_BITS  = 8,           // bits of what a row of a window gives
    parameter string ACROSS_KIND  = "unsigned",
    parameter int    OUT_BITS     = 8,           // bits of a result
    parameter string OPERATION    = "max",       // and the styles of the accumulators, as in bf_interleaved_accumulator
    parameter string ACROSS_STYLE = "shift",
    parameter string DOWN_STYLE   = "shift",
    parameter int    CREDITS      = 3            // places for output beats
) (
    input  wire logic                               clk,
    input  wire logic                               rst,
    input  wire logic                               s_valid,
    output      logic                               s_ready,
    input  wire logic [WINDOWS*ELEMENTS*PE*IN_BITS-1:0] s_data,
    output      logic                               m_valid,
    input  wire logic                               m_ready,
    output      logic [       WINDOWS*PE*OUT_BITS-1:0] m_data
);
  localparam int LANES = WINDOWS * PE;
  localparam int GATHER = $clog2(ELEMENTS);
  localparam int ACROSS = ACROSS_STYLE == "block" ? 3 : 1;
  localparam int DOWN = KH == 1 ? 0 : DOWN_STYLE == "block" ? 3 : 1;

  // Control: where the next beat is, and whether it can be taken in this cycle.
  localparam int STEP = STEPS > 1 ? $clog2(STEPS) : 1;
  logic [STEP-1:0] step;
  logic credit, fire, pixel, gives;
  logic left, right, in_row, row_done, top, bottom, in_image, image_done;
  if (STEPS == 1) begin : g_pixel
    assign step = '0;
  end else begin : g_step
    always_ff @(posedge clk) begin
      if (rst) step <= '0;
      else if (fire) step <= step == STEP'(STEPS - 1) ? '0 : step + STEP'(1);
    end
  end
  assign pixel   = fire && step == STEP'(STEPS - 1);
  assign gives   = right && bottom && in_row && in_image;
  assign s_ready = credit || !gives;
  assign fire    = s_valid && s_ready;
  bf_pool_axis #(
      .SIZE  (COLUMNS),
      .KERNEL(KW)
  ) column (
      .clk,
      .rst,
      .step (pixel),
      .first(left),
      .last (right),
      .used (in_row),
      .done (row_done)
  );
  bf_pool_axis #(
      .SIZE  (ROWS),
      .KERNEL(KH)
  ) row (
      .clk,
      .rst,
      .step (pixel && row_done),
      .first(top),
      .last (bottom),
      .used (in_image),
      .done (image_done)
  );

  // What is under way. Bit i: i + 1 cycles after the firing.
  localparam int REDUCED = GATHER + ACROSS;
  localparam int LATENCY = 1 + REDUCED + DOWN;
  logic [GATHER:0] taken, is_left;
  logic [REDUCED:0] ends_row, is_top;
  logic [LATENCY-1:0] ends_window;
  always_ff @(posedge clk) begin
    taken       <= rst ? '0 : (GATHER + 1)'({taken, fire && in_row && in_image});
    is_left     <= (GATHER + 1)'({is_left, left});
    ends_row    <= rst ? '0 : (REDUCED + 1)'({ends_row, fire && right && in_row && in_image});
    is_top      <= (REDUCED + 1)'({is_top, top});
    ends_window <= rst ? '0 : LATENCY'({ends_window, fire && gives});
  end

  logic [WINDOWS*ELEMENTS*PE*IN_BITS-1:0] beat;
  logic [WINDOWS-1:0][ELEMENTS-1:0][PE-1:0][ACROSS_BITS-1:0] wide;
  logic [WINDOWS-1:0][PE-1:0][ACROSS_BITS-1:0] gathered;
  logic [LANES-1:0][ACROSS_BITS-1:0] reduced;
  logic [LANES*OUT_BITS-1:0] result;
  always_ff @(posedge clk) beat <= s_data;
  bf_widen #(
      .LANES   (LANES * ELEMENTS),
      .IN_BITS (IN_BITS),
      .OUT_BITS(ACROSS_BITS),
      .KIND    (IN_KIND)
  ) widen_beat (
      .codes   (beat),
      .integers(wide)
  );
  for (genvar w = 0; w < WINDOWS; w++) begin : g_window
    bf_reduce_tree #(
        .COUNT    (ELEMENTS),
        .LANES    (PE),
        .BITS     (ACROSS_BITS),
        .OPERATION(OPERATION)
    ) beside (
        .clk,
        .values(wide[w]),
        .result(gathered[w])
    );
  end
  bf_interleaved_accumulator #(
      .DEPTH    (STEPS),
      .LANES    (LANES),
      .BITS     (ACROSS_BITS),
      .OPERATION(OPERATION),
      .STYLE    (ACROSS_STYLE)
  ) across (
      .clk,
      .rst,
      .valid (taken[GATHER]),
      .first (is_left[GATHER]),
      .value (gathered),
      .carry ('0),
      .result(reduced)
  );
  if (KH == 1) begin : g_row
    assign result = reduced;
  end else begin : g_rows
    logic [LANES-1:0][OUT_BITS-1:0] wider;
    bf_widen #(
        .LANES   (LANES),
        .IN_BITS (ACROSS_BITS),
        .OUT_BITS(OUT_BITS),
        .KIND    (ACROSS_KIND)
    ) widen_row (
        .codes   (reduced),
        .integers(wider)
    );
    bf_interleaved_accumulator #(
        .DEPTH    (COLUMNS / KW * STEPS),
        .LANES    (LANES),
        .BITS     (OUT_BITS),
        .OPERATION(OPERATION),
        .STYLE    (DOWN_STYLE)
    ) down (
        .clk,
        .rst,
        .valid (ends_row[REDUCED]),
        .first (is_top[REDUCED]),
        .value (wider),
        .carry ('0),
        .result
    );
  end

  bf_stream_out #(
      .WIDTH  (LANES * OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && gives),
      .push (ends_window[LATENCY-1]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
