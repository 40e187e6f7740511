// Sliding window: the windows of a convolution (FINN: ConvolutionInputGenerator), padding included. The input is an
// image of H x W pixels of CF words each, TAKEN words per beat. The output is, for each of OH x OW windows, the JY x JX
// pixels of each of its PY x PX parts; or WINDOWS whole windows per beat. Initiation interval: the number of input or
// output beats, whichever is larger. Latency: LATENCY cycles from the start of an output beat to m_valid.
//
// A writer fills a circular memory of PLACES words; a reader walks through the windows. A position is a word index
// counted from the beginning of a frame, line by line, and on into the next frame. Padding has positions too, those of
// other words, and is replaced: by PADDING, whose OUT_BITS low bits are the code of an element.
`default_nettype none

module bf_sliding_window #(
    parameter  int                    BITS     = 8,              // bits of an element
    parameter  int                    LANES    = 1,              // elements of a word
    // words of a position; 1 where TAKEN or WINDOWS is more than 1
    parameter  int                    CF       = 1,
    parameter  int                    TAKEN    = 1,              // words of an input beat
    // windows of an output beat; PY and PX are 1 where it is more than 1
    parameter  int                    WINDOWS  = 1,
    parameter  int                    H        = 8,
    parameter  int                    W        = 8,
    parameter  int                    OH       = 6,
    parameter  int                    OW       = 6,
    parameter  int                    SY       = 1,              // stride
    parameter  int                    SX       = 1,
    parameter  int                    DY       = 1,              // dilation
    parameter  int                    DX       = 1,
    parameter  int                    TOP      = 0,              // padding before the image
    parameter  int                    LEFT     = 0,
    parameter  int                    PY       = 3,              // parts of a window
    parameter  int                    PX       = 3,
    parameter  int                    JY       = 1,              // positions of a part
    parameter  int                    JX       = 1,
    parameter  int                    COLUMNS  = JX,             // image columns in an output beat; their places:
    parameter  logic [32*COLUMNS-1:0] COLUMN   = '0,
    parameter  int                    PADDED   = 0,              // 1: there is padding
    parameter  int                    TERNARY  = 0,              // input is BIPOLAR, output in two's complement
    parameter  int                    OUT_BITS = TERNARY != 0 ? 2 : BITS,
    parameter  int                    SIGNED   = 0,              // input is in two's complement
    parameter  int                    PADDINGS = 1,              // 1, or one for each channel (CF * LANES)
    parameter  logic [32*PADDINGS-1:0] PADDING = '0,
    parameter  int                    PLACES   = 20,             // a multiple of BANKS
    parameter  int                    BANKS    = 1,              // a multiple of TAKEN
    parameter  int                    FREES_Y  = 8,              // words released when the reader advances by a line of
    parameter  int                    FREES_X  = 1,              // windows, and by WINDOWS windows
    parameter  logic [127:0]          STYLE    = "distributed",  // memory: or "block"
    parameter  int                    LATENCY  = 2,              // 1 + cycles of bf_window_memory
    parameter  int                    CREDITS  = 3,              // entries of the output buffer
    localparam int                    OUT      = WINDOWS * JY * JX * LANES * OUT_BITS
) (
    input  wire logic                        clk,
    input  wire logic                        rst,
    input  wire logic                        s_valid,
    output      logic                        s_ready,
    input  wire logic [TAKEN*LANES*BITS-1:0] s_data,
    output      logic                        m_valid,
    input  wire logic                        m_ready,
    output      logic [             OUT-1:0] m_data
);
  localparam int PIXELS = JY * COLUMNS;
  localparam int WORDS = H * W * CF;
  localparam int START = -(TOP * W + LEFT) * CF;
  localparam int REACH = ((JY - 1) * DY * W + int'(COLUMN[32*(COLUMNS-1)+:32])) * CF + 1;
  localparam int FETCH = LATENCY - 1;

  // The loops of the reader, the innermost first: words of a position, parts of a row, rows, windows, lines, frames.
  localparam int TURNS = 6;
  localparam logic [32*TURNS-1:0] COUNT = {32'd1, 32'(OH), 32'(OW / WINDOWS), 32'(PY), 32'(PX), 32'(CF)};
  localparam logic [32*TURNS-1:0] STEP = {
    32'(WORDS), 32'(SY * W * CF), 32'(WINDOWS * SX * CF), 32'(JY * DY * W * CF), 32'(JX * DX * CF), 32'd1
  };
  localparam logic [32*TURNS-1:0] FREES = {32'(WORDS), 32'(FREES_Y), 32'(FREES_X), 96'd0};

  // Its move when loop i turns and those inside it restart. (A loop of one turn never turns; the last is endless.)
  function automatic logic [32*TURNS-1:0] moves(input logic [32*TURNS-1:0] steps);
    int inner;
    inner = 0;
    for (int i = 0; i < TURNS; i++) begin
      moves[32*i+:32] = COUNT[32*i+:32] == 1 && i < TURNS - 1 ? 0 : steps[32*i+:32] - inner;
      inner += (int'(COUNT[32*i+:32]) - 1) * int'(steps[32*i+:32]);
    end
  endfunction

  localparam logic [32*TURNS-1:0] MOVES = moves(STEP);

  logic take, fire, credit;
  logic [TURNS-1:0] turn, last_turn;
  bf_window_walk #(
      .TURNS     (TURNS),
      .COUNT     (COUNT),
      .MOVES     (MOVES),
      .FREED     (moves(FREES)),
      .START     (START),
      .REACH     (REACH),
      .WORDS     (WORDS),
      .TAKEN     (TAKEN),
      .PLACES    (PLACES),
      .PADDED    (PADDED),
      .READ_DELAY(BANKS > 1 ? 2 : 0)
  ) walk (
      .clk,
      .rst,
      .s_valid,
      .s_ready,
      .take,
      .credit,
      .fire,
      .turn,
      .last(last_turn)
  );

  // The memory, and which of the positions that come out of it are padding.
  function automatic logic [32*PIXELS-1:0] offsets();
    for (int y = 0; y < JY; y++)
      for (int x = 0; x < COLUMNS; x++) offsets[32*(y*COLUMNS+x)+:32] = y * DY * W + int'(COLUMN[32*x+:32]);
  endfunction

  function automatic logic [32*JY-1:0] rows();
    for (int y = 0; y < JY; y++) rows[32*y+:32] = y * DY;
  endfunction

  logic [PIXELS-1:0][LANES*BITS-1:0] found;
  logic [PIXELS-1:0] real_q;
  logic push;
  bf_window_memory #(
      .WIDTH    (LANES * BITS),
      .TAKEN    (TAKEN),
      .PLACES   (PLACES),
      .BANKS    (BANKS),
      .PIXELS(PIXELS),
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
    logic [COLUMNS-1:0] image_x;
    logic [PIXELS-1:0] image;
    bf_window_axis #(
        .SIZE    (H),
        .BEFORE  (TOP),
        .WINDOWS (OH),
        .STRIDE  (SY),
        .PARTS   (PY),
        .PART    (JY * DY),
        .LANES   (JY),
        .AT      (rows())
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
    bf_window_axis #(
        .SIZE    (W),
        .BEFORE  (LEFT),
        .WINDOWS (OW / WINDOWS),
        .STRIDE  (WINDOWS * SX),
        .PARTS   (PX),
        .PART    (JX * DX),
        .LANES   (COLUMNS),
        .AT      (COLUMN)
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
    for (genvar i = 0; i < PIXELS; i++) begin : g_position
      assign image[i] = image_y[i/COLUMNS] && image_x[i%COLUMNS];
    end
    bf_delay #(
        .WIDTH (PIXELS),
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

  // The padding of a word, other than 0: a table of words where it differs between channels. (Then a beat is part of one
  // position.)
  localparam bit ZEROS = PADDINGS == 1 && PADDING == '0;
  function automatic logic [LANES*OUT_BITS-1:0] padding_of(input int word);
    for (int c = 0; c < LANES; c++)
      padding_of[c*OUT_BITS+:OUT_BITS] = PADDING[32*((word*LANES+c)%PADDINGS)+:OUT_BITS];
  endfunction

  if (!ZEROS) begin : g_codes
    logic [LANES*OUT_BITS-1:0] padding;
    if (PADDINGS == 1 || CF == 1) begin : g_one
      assign padding = padding_of(0);
    end else begin : g_table
      localparam int WORD = $clog2(CF);
      logic [WORD-1:0] word, word_q;
      always_ff @(posedge clk) begin
        if (rst) word <= '0;
        else if (fire) word <= last_turn[0] ? '0 : word + WORD'(1);
      end
      bf_delay #(
          .WIDTH (WORD),
          .CYCLES(FETCH - 1)
      ) wait_for_memory (
          .clk,
          .d(word),
          .q(word_q)
      );
      always_ff @(posedge clk) begin
        padding <= '0;
        for (int i = 0; i < CF; i++) if (word_q == WORD'(i)) padding <= padding_of(i);
      end
    end
  end

  // The windows take their positions from those that were found.
  function automatic int column(input int x);
    column = 0;
    for (int i = 0; i < COLUMNS; i++) if (int'(COLUMN[32*i+:32]) == x) column = i;
  endfunction

  logic [WINDOWS*JY*JX*LANES-1:0][OUT_BITS-1:0] result;
  for (genvar w = 0; w < WINDOWS; w++) begin : g_window
    for (genvar i = 0; i < JY * JX; i++) begin : g_result
      localparam int FROM = i / JX * COLUMNS + column(w * SX + i % JX * DX);
      localparam int TO = (w * JY * JX + i) * LANES;
      for (genvar c = 0; c < LANES; c++) begin : g_lane
        if (!ZEROS) begin : g_replaced
          logic [OUT_BITS-1:0] element;
          if (TERNARY != 0) begin : g_ternary
            assign element = {{(OUT_BITS - 1) {!found[FROM][c]}}, 1'b1};
          end else begin : g_number
            logic sign;
            assign sign = SIGNED != 0 && found[FROM][c*BITS+BITS-1];
            assign element = OUT_BITS'({{OUT_BITS{sign}}, found[FROM][c*BITS+:BITS]});
          end
          assign result[TO+c] = real_q[FROM] ? element : g_codes.padding[c*OUT_BITS+:OUT_BITS];
        end else if (TERNARY != 0) begin : g_ternary
          assign result[TO+c] = {real_q[FROM] && !found[FROM][c], real_q[FROM]};
        end else begin : g_same
          assign result[TO+c] = found[FROM][c*BITS+:BITS] & {BITS{real_q[FROM]}};
        end
      end
    end
  end
  bf_stream_out #(
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
