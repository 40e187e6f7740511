// Pooling: maximum or sum over KH x KW windows that do not overlap, per channel, on an image of ROWS x COLUMNS pixels
// of STEPS beats each. Rows and columns that fill no window are dropped. A beat may hold ELEMENTS pixels of each of
// WINDOWS adjacent windows; these are reduced first. The KW columns of a window are reduced next and its KH rows last,
// so that there is one accumulator per channel and one per element of a row of windows.
// Initiation interval: 1 beat per cycle. Latency: LATENCY cycles from the last beat of a window to m_valid.
`default_nettype none

module bf_pool #(
    parameter int           PE             = 1,           // channels a beat
    parameter int           ELEMENTS       = 1,           // pixels of each window, reduced first
    parameter int           WINDOWS        = 1,           // windows of a beat
    parameter int           STEPS          = 4,           // beats of a pixel
    parameter int           ROWS           = 4,
    parameter int           COLUMNS        = 4,
    parameter int           KH             = 2,           // rows and columns of a window
    parameter int           KW             = 2,
    parameter int           IN_BITS        = 8,           // bits of an element
    parameter logic [127:0] IN_KIND        = "unsigned",  // kind of its codes, as in bf_widen
    parameter int           ACROSS_BITS    = 8,           // bits of the result of a row of a window
    parameter logic [127:0] ACROSS_KIND    = "unsigned",
    parameter int           OUT_BITS       = 8,           // bits of a result
    parameter logic [127:0] OPERATION      = "max",       // this and the styles as in bf_interleaved_accumulator
    parameter logic [127:0] ACROSS_STYLE   = "shift",
    parameter logic [127:0] DOWN_STYLE     = "shift",
    parameter int           GATHER_LATENCY = 0,           // cycles in which ELEMENTS are reduced
    parameter int           ACROSS_LATENCY = 1,           // cycles of the reduction over columns
    parameter int           LATENCY        = 4,           // cycles from a window's last beat to m_valid
    parameter int           CREDITS        = 3            // entries of the output buffer
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

  // In the pipeline. Bit i: i + 1 cycles after the firing.
  localparam int REDUCED = GATHER_LATENCY + ACROSS_LATENCY;
  localparam int DEPTH = LATENCY - 1;
  logic [GATHER_LATENCY:0] taken, is_left;
  logic [REDUCED:0] ends_row, is_top;
  logic [DEPTH-1:0] ends_window;
  always_ff @(posedge clk) begin
    taken       <= rst ? '0 : (GATHER_LATENCY + 1)'({taken, fire && in_row && in_image});
    is_left     <= (GATHER_LATENCY + 1)'({is_left, left});
    ends_row    <= rst ? '0 : (REDUCED + 1)'({ends_row, fire && right && in_row && in_image});
    is_top      <= (REDUCED + 1)'({is_top, top});
    ends_window <= rst ? '0 : DEPTH'({ends_window, fire && gives});
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
      .valid (taken[GATHER_LATENCY]),
      .first (is_left[GATHER_LATENCY]),
      .value (gathered),
      .carry ({LANES{1'b0}}),
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
        .carry ({LANES{1'b0}}),
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
      .push (ends_window[DEPTH-1]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
