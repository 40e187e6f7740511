// Nearest-neighbour upsampling: a row has COLUMNS pixels of STEPS beats; each pixel is repeated FW times and each row
// FH times. Or a beat has PIXELS pixels, each with COPIES copies in the output beat. The first copy of a row takes the
// input beats; the other copies read them from a buffer.
// Initiation interval: 1 output beat per cycle. Latency: LATENCY cycles.
`default_nettype none

module bf_upsample #(
    parameter int           WIDTH   = 8,              // bits of an input beat
    parameter int           PIXELS  = 1,              // positions in it
    parameter int           COPIES  = 1,              // copies of each in an output beat
    parameter int           STEPS   = 2,              // beats of a pixel
    parameter int           COLUMNS = 4,              // positions of a row, or beats; 1 where rows are not repeated
    parameter int           FH      = 2,              // copies of a row
    parameter int           FW      = 2,              // copies of a position, one after the other
    parameter logic [127:0] BUFFER  = "distributed",  // as in bf_replay
    parameter int           LATENCY = 3,              // 1 + cycles of bf_replay
    parameter int           CREDITS = 3               // entries of the output buffer
) (
    input  wire logic                    clk,
    input  wire logic                    rst,
    input  wire logic                    s_valid,
    output      logic                    s_ready,
    input  wire logic [       WIDTH-1:0] s_data,
    output      logic                    m_valid,
    input  wire logic                    m_ready,
    output      logic [COPIES*WIDTH-1:0] m_data
);
  localparam int DEPTH = COLUMNS * STEPS;
  localparam int INDEX = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int STEP = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam int ACROSS = FW > 1 ? $clog2(FW) : 1;
  localparam int DOWN = FH > 1 ? $clog2(FH) : 1;

  // Control: the place in the buffer, which is what is next, and the copies before it.
  logic [INDEX-1:0] index;
  logic [STEP-1:0] step;
  logic [ACROSS-1:0] across;
  logic [DOWN-1:0] down;
  logic credit, fire, take, taking, pixel_ends, copies_end, row_ends;
  assign taking     = across == '0 && down == '0;
  assign s_ready    = taking && credit;
  assign take       = s_valid && s_ready;
  assign fire       = credit && (s_valid || !taking);
  assign pixel_ends = step == STEP'(STEPS - 1);
  assign copies_end = across == ACROSS'(FW - 1);
  assign row_ends   = index == INDEX'(DEPTH - 1) && copies_end;
  if (DEPTH == 1) begin : g_one_place
    assign index = '0;
  end else begin : g_places
    always_ff @(posedge clk) begin
      if (rst) index <= '0;
      else if (fire) index <= row_ends ? '0 : pixel_ends && !copies_end ? index - INDEX'(STEPS - 1) : index + INDEX'(1);
    end
  end
  if (STEPS == 1) begin : g_one_step
    assign step = '0;
  end else if (COLUMNS == 1) begin : g_index
    assign step = index;
  end else begin : g_steps
    always_ff @(posedge clk) begin
      if (rst) step <= '0;
      else if (fire) step <= pixel_ends ? '0 : step + STEP'(1);
    end
  end
  if (FW == 1) begin : g_once_across
    assign across = '0;
  end else begin : g_across
    always_ff @(posedge clk) begin
      if (rst) across <= '0;
      else if (fire && pixel_ends) across <= copies_end ? '0 : across + ACROSS'(1);
    end
  end
  if (FH == 1) begin : g_once_down
    assign down = '0;
  end else begin : g_down
    always_ff @(posedge clk) begin
      if (rst) down <= '0;
      else if (fire && row_ends) down <= down == DOWN'(FH - 1) ? '0 : down + DOWN'(1);
    end
  end

  logic [LATENCY-2:0] fired;
  logic [WIDTH-1:0] beat;
  always_ff @(posedge clk) fired <= rst ? '0 : (LATENCY - 1)'({fired, fire});
  bf_replay #(
      .WIDTH(WIDTH),
      .DEPTH(DEPTH),
      .STYLE(BUFFER)
  ) buffer (
      .clk,
      .take,
      .index,
      .beat(s_data),
      .data(beat)
  );
  localparam int EACH = WIDTH / PIXELS;
  logic [PIXELS-1:0][COPIES-1:0][EACH-1:0] copied;
  for (genvar i = 0; i < PIXELS; i++) begin : g_position
    assign copied[i] = {COPIES{beat[i*EACH+:EACH]}};
  end
  bf_stream_out #(
      .WIDTH  (COPIES * WIDTH),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (fired[LATENCY-2]),
      .data (copied),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
