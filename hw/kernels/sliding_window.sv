// Sliding window: the windows of a convolution. Beats of an image of H by W positions, CF beats each, come in; out go,
// for each of OH by OW windows, the JY by JX positions of each of its PY by PX parts. Padding is made here.
// Initiation interval: as many cycles as beats, in or out, whichever are more.
// Latency from the cycle in which an output beat is started to m_valid: FETCH + 1 cycles.
//
// A writer fills a memory of PLACES beats round and round, a reader goes through the windows. Positions are numbers of
// beats from the beginning of a frame, line after line, and on into the next frame; padding has numbers as well, those of
// other beats, and is masked.
`default_nettype none

module sliding_window #(
    parameter int    BITS     = 8,              // bits of an element
    parameter int    LANES    = 1,              // elements of an input beat
    parameter int    CF       = 1,              // input beats of a position
    parameter int    H        = 8,
    parameter int    W        = 8,
    parameter int    OH       = 6,
    parameter int    OW       = 6,
    parameter int    SY       = 1,              // stride
    parameter int    SX       = 1,
    parameter int    DY       = 1,              // dilation
    parameter int    DX       = 1,
    parameter int    TOP      = 0,              // padding before the image
    parameter int    LEFT     = 0,
    parameter int    PY       = 3,              // parts of a window
    parameter int    PX       = 3,
    parameter int    JY       = 1,              // positions of a part
    parameter int    JX       = 1,
    parameter int    PADDED   = 0,              // there is padding somewhere
    parameter int    TERNARY  = 0,              // input is BIPOLAR, output TERNARY
    parameter int    PLACES   = 20,             // a multiple of BANKS
    parameter int    BANKS    = 1,
    parameter int    FREES_Y  = 8,              // beats that are not read again when the reader goes on by a line of
    parameter int    FREES_X  = 1,              // windows, and by a window
    parameter string STYLE    = "distributed",  // memory: or "block"
    parameter int    CREDITS  = 3,              // places for output beats
    localparam int   OUT_BITS = TERNARY != 0 ? 2 : BITS,
    localparam int   OUT      = JY * JX * LANES * OUT_BITS
) (
    input  wire logic                  clk,
    input  wire logic                  rst,
    input  wire logic                  s_valid,
    output      logic                  s_ready,
    input  wire logic [LANES*BITS-1:0] s_data,
    output      logic                  m_valid,
    input  wire logic                  m_ready,
    output      logic [       OUT-1:0] m_data
);
  localparam int POSITIONS = JY * JX;
  localparam int BEATS = H * W * CF;
  localparam int START = -(TOP * W + LEFT) * CF;
  localparam int REACH = ((JY - 1) * DY * W + (JX - 1) * DX) * CF + 1;
  localparam int FETCH = (POSITIONS > 1 ? 4 : 1) + (STYLE == "block" ? 1 : 0);

  // The loops of the reader, the innermost first: beats of a position, parts of a row, rows, windows, lines, frames.
  localparam int TURNS = 6;
  localparam logic [TURNS-1:0][31:0] COUNT = '{1, OH, OW, PY, PX, CF};
  localparam logic [TURNS-1:0][31:0] STEP = '{BEATS, SY * W * CF, SX * CF, JY * DY * W * CF, JX * DX * CF, 1};
  localparam logic [TURNS-1:0][31:0] FREES = '{BEATS, FREES_Y, FREES_X, 0, 0, 0};

  // How far it moves when loop i turns and those inside it begin again.
  function automatic logic [TURNS-1:0][31:0] moves(input logic [TURNS-1:0][31:0] steps);
    int inner;
    inner = 0;
    for (int i = 0; i < TURNS; i++) begin
      moves[i] = steps[i] - inner;
      inner += (int'(COUNT[i]) - 1) * int'(steps[i]);
    end
  endfunction

  function automatic int most(input logic [TURNS-1:0][31:0] values);
    most = 0;
    for (int i = 0; i < TURNS; i++) if (int'(values[i]) > most) most = int'(values[i]);
  endfunction

  localparam logic [TURNS-1:0][31:0] MOVES = moves(STEP);
  localparam logic [TURNS-1:0][31:0] FREED = moves(FREES);

  // Loop i turns when those inside it are through; the last one, that of the frames, has no end.
  logic take, fire, credit;
  logic [TURNS-1:0] last, through, turn;
  assign through[0] = 1'b1;
  assign last[TURNS-1] = 1'b0;
  for (genvar i = 0; i < TURNS; i++) begin : g_turn
    assign turn[i] = through[i] && !last[i];
    if (i < TURNS - 1) begin : g_loop
      assign through[i+1] = through[i] && last[i];
      loop #(
          .COUNT(int'(COUNT[i]))
      ) counter (
          .clk,
          .rst,
          .step(fire && through[i]),
          .last(last[i])
      );
    end
  end

  // The writer goes on while there is room, the reader when what it looks at has come in; both are less 1, or not negative.
  localparam int BEYOND = START + REACH - int'(MOVES[TURNS-1]);  // how far the last window reaches beyond the frame
  localparam int POINT = $clog2(PLACES - START + most(MOVES) + (BEYOND > 0 ? BEYOND : 0) + 2) + 1;
  logic [POINT-1:0] level, room, reads, freed;
  logic [TURNS-1:0] left;
  logic moved, ended, unused_level, unused_room;
  assign take    = s_valid && s_ready;
  assign s_ready = !room[POINT-1];
  assign fire    = credit && (!level[POINT-1] || ended);
  delay #(
      .WIDTH (TURNS + 1),
      .CYCLES(BANKS > 1 ? 2 : 0)
  ) wait_for_reading (
      .clk,
      .d({fire && !rst, turn}),
      .q({moved, left})
  );
  always_comb begin
    reads = '0;
    freed = '1;
    for (int i = 0; i < TURNS; i++) begin
      if (fire && turn[i]) reads |= POINT'(-int'(MOVES[i]));
      if (moved && left[i]) freed &= POINT'(int'(FREED[i]) - 1);
    end
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      level <= POINT'(-START - REACH);
      room  <= POINT'(START + PLACES - 1);
    end else begin
      {level, unused_level} <= {level, take} + {reads, take};
      {room, unused_room}   <= {room, !take} + {freed, !take};
    end
  end

  // Windows that reach below the frame's end are content with its end.
  if (PADDED == 0) begin : g_never_ended
    assign ended = 1'b0;
  end else begin : g_ended
    localparam int LEAD = $clog2(PLACES / BEATS + 3) + 1;
    logic [LEAD-1:0] lead, lead_next;  // frames written less frames read
    logic complete;
    loop #(
        .COUNT(BEATS)
    ) written (
        .clk,
        .rst,
        .step(take),
        .last(complete)
    );
    always_comb begin
      lead_next = lead;
      if (take && complete && !(fire && turn[TURNS-1])) lead_next = lead + LEAD'(1);
      if (fire && turn[TURNS-1] && !(take && complete)) lead_next = lead - LEAD'(1);
    end
    always_ff @(posedge clk) begin
      lead  <= rst ? '0 : lead_next;
      ended <= !rst && !lead_next[LEAD-1] && lead_next != '0;
    end
  end

  // The memory, and which of the positions that come out of it are padding.
  function automatic logic [POSITIONS-1:0][31:0] offsets();
    for (int y = 0; y < JY; y++) for (int x = 0; x < JX; x++) offsets[y*JX+x] = y * DY * W + x * DX;
  endfunction

  logic [POSITIONS-1:0][LANES*BITS-1:0] found;
  logic [POSITIONS-1:0] real_q;
  logic push;
  window_memory #(
      .WIDTH    (LANES * BITS),
      .PLACES   (PLACES),
      .BANKS    (BANKS),
      .POSITIONS(POSITIONS),
      .TURNS    (TURNS),
      .START    (START),
      .OFFSETS  (offsets()),
      .MOVES    (MOVES),
      .STYLE    (STYLE)
  ) memory (
      .clk,
      .rst,
      .take,
      .beat(s_data),
      .move(fire),
      .turn,
      .data(found)
  );
  if (PADDED == 0) begin : g_all_real
    assign real_q = '1;
  end else begin : g_padding
    logic [JY-1:0] image_y;
    logic [JX-1:0] image_x;
    logic [POSITIONS-1:0] image;
    window_axis #(
        .SIZE    (H),
        .BEFORE  (TOP),
        .WINDOWS (OH),
        .STRIDE  (SY),
        .PARTS   (PY),
        .LANES   (JY),
        .DILATION(DY)
    ) axis_y (
        .clk,
        .rst,
        .move  (fire),
        .part  (turn[2]),
        .again (turn[3]),
        .next  (turn[4]),
        .first (turn[5]),
        .image(image_y)
    );
    window_axis #(
        .SIZE    (W),
        .BEFORE  (LEFT),
        .WINDOWS (OW),
        .STRIDE  (SX),
        .PARTS   (PX),
        .LANES   (JX),
        .DILATION(DX)
    ) axis_x (
        .clk,
        .rst,
        .move  (fire),
        .part  (turn[1]),
        .again (turn[2]),
        .next  (turn[3]),
        .first (turn[4] || turn[5]),
        .image(image_x)
    );
    for (genvar i = 0; i < POSITIONS; i++) begin : g_position
      assign image[i] = image_y[i/JX] && image_x[i%JX];
    end
    delay #(
        .WIDTH (POSITIONS),
        .CYCLES(FETCH - 1)
    ) wait_for_memory (
        .clk,
        .d(image),
        .q(real_q)
    );
  end

  logic [FETCH-1:0] under_way;
  always_ff @(posedge clk) under_way <= rst ? '0 : FETCH'({under_way, fire});
  assign push = under_way[FETCH-1];

  logic [POSITIONS*LANES-1:0][OUT_BITS-1:0] result;
  for (genvar i = 0; i < POSITIONS; i++) begin : g_result
    for (genvar c = 0; c < LANES; c++) begin : g_lane
      if (TERNARY != 0) begin : g_ternary
        assign result[i*LANES+c] = {real_q[i] && !found[i][c], real_q[i]};
      end else begin : g_same
        assign result[i*LANES+c] = found[i][c*BITS+:BITS] & {BITS{real_q[i]}};
      end
    end
  end
  stream_out #(
      .WIDTH  (OUT),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push,
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
