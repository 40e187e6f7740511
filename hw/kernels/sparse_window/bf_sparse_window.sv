// Sparse sliding window: some elements of the windows of a convolution, padding included. The input is an image of
// H x W pixels of CF words each, a word per beat. The output is, for each of OH x OW windows, BEATS beats of LANES
// elements: lane i of a beat is that of the word at an offset of its own from the window's first. Initiation interval:
// the number of input or output beats, whichever is larger. Latency: LATENCY cycles from the start of an output beat to
// m_valid.
//
// bf_window_walk writes and reads as in bf_sliding_window; a window's beats are all read from one position. PLACE holds
// for each beat, lane 0 in the low bits, the offset of its word and, with PADDED, its kernel column and row.
`default_nettype none

module bf_sparse_window #(
    parameter  int                    BITS     = 8,              // bits of an element
    parameter  int                    LANES    = 1,              // elements of a word
    parameter  int                    CF       = 1,              // words of a position
    parameter  int                    H        = 8,
    parameter  int                    W        = 8,
    parameter  int                    OH       = 6,
    parameter  int                    OW       = 6,
    parameter  int                    SY       = 1,              // stride
    parameter  int                    SX       = 1,
    parameter  int                    TOP      = 0,              // padding before the image
    parameter  int                    LEFT     = 0,
    parameter  int                    ROWS     = 3,              // of the kernel, and its columns; their places:
    parameter  int                    COLUMNS  = 3,
    parameter  logic [32*ROWS-1:0]    ROW      = '0,
    parameter  logic [32*COLUMNS-1:0] COLUMN   = '0,
    parameter  int                    BEATS    = 4,              // of a window
    parameter  int                    SHARED   = 0,              // 1: all lanes have the same offset
    parameter  int                    START    = 0,              // first position
    parameter  int                    REACH    = 19,             // 1 more than the largest offset
    parameter  int                    WORDS_32 = 1,              // 32-bit words of PLACE
    parameter  logic [32*WORDS_32-1:0] PLACE   = '0,
    parameter  int                    PADDED   = 0,              // 1: there is padding
    parameter  int                    TERNARY  = 0,              // input is BIPOLAR, output in two's complement
    parameter  int                    OUT_BITS = TERNARY != 0 ? 2 : BITS,
    parameter  int                    SIGNED   = 0,              // input is in two's complement
    parameter  logic [31:0]           PADDING  = '0,
    parameter  int                    PLACES   = 20,
    parameter  int                    FREES_Y  = 8,              // words released when the reader advances by a line of
    parameter  int                    FREES_X  = 1,              // windows, and by a window
    parameter  logic [127:0]          STYLE    = "distributed",  // memory: or "block"
    parameter  int                    LATENCY  = 4,
    parameter  int                    CREDITS  = 5               // entries of the output buffer
) (
    input  wire logic                      clk,
    input  wire logic                      rst,
    input  wire logic                      s_valid,
    output      logic                      s_ready,
    input  wire logic [    LANES*BITS-1:0] s_data,
    output      logic                      m_valid,
    input  wire logic                      m_ready,
    output      logic [LANES*OUT_BITS-1:0] m_data
);
  localparam int WORDS = H * W * CF;
  localparam int FETCH = LATENCY - 1;
  localparam int ADDRESS = PLACES > 1 ? $clog2(PLACES) : 1;

  // The loops of the reader, the innermost first: beats of a window, windows, lines, frames.
  localparam int TURNS = 4;
  localparam logic [32*TURNS-1:0] COUNT = {32'd1, 32'(OH), 32'(OW), 32'(BEATS)};
  localparam int ALONG = (OW - 1) * SX * CF;
  localparam int DOWN = (OH - 1) * SY * W * CF;
  localparam logic [32*TURNS-1:0] MOVES = {
    32'(WORDS - DOWN - ALONG), 32'(OH == 1 ? 0 : SY * W * CF - ALONG), 32'(OW == 1 ? 0 : SX * CF), 32'd0
  };
  localparam logic [32*TURNS-1:0] FREED = {
    32'(WORDS - (OH - 1) * FREES_Y - (OW - 1) * FREES_X),
    32'(OH == 1 ? 0 : FREES_Y - (OW - 1) * FREES_X),
    32'(OW == 1 ? 0 : FREES_X),
    32'd0
  };

  logic take, fire, credit;
  logic [TURNS-1:0] turn, last;
  bf_window_walk #(
      .TURNS     (TURNS),
      .COUNT     (COUNT),
      .MOVES     (MOVES),
      .FREED     (FREED),
      .START     (START),
      .REACH     (REACH),
      .WORDS     (WORDS),
      .PLACES    (PLACES),
      .PADDED    (PADDED),
      .READ_DELAY(2)
  ) walk (
      .clk,
      .rst,
      .s_valid,
      .s_ready,
      .take,
      .credit,
      .fire,
      .turn,
      .last
  );

  // Where the writer and the reader are in the memory. Of the reader's next places, without and with the wrap at the
  // end, the sign of the second chooses.
  function automatic int place(input int position);
    place = (position % PLACES + PLACES) % PLACES;
  endfunction

  logic [ADDRESS-1:0] top, base;
  logic [ADDRESS:0] words, far, near;
  always_comb begin
    words = '0;
    for (int i = 0; i < TURNS; i++) if (turn[i]) words |= (ADDRESS + 1)'(place(int'(MOVES[32*i+:32])));
  end
  assign near = {1'b0, base} + words;
  assign far  = {1'b0, base} + words - (ADDRESS + 1)'(PLACES);
  always_ff @(posedge clk) begin
    if (rst) begin
      top  <= '0;
      base <= ADDRESS'(place(START));
    end else begin
      if (take) top <= top == ADDRESS'(PLACES - 1) ? '0 : top + ADDRESS'(1);
      if (fire) base <= far[ADDRESS] ? near[ADDRESS-1:0] : far[ADDRESS-1:0];
    end
  end

  // The places of a beat's elements.
  localparam int OWN = SHARED != 0 ? 1 : LANES;  // lanes with offsets of their own
  localparam int OFFSET = REACH > 1 ? $clog2(REACH) : 1;
  localparam int X = PADDED != 0 && COLUMNS > 1 ? $clog2(COLUMNS) : 0;
  localparam int Y = PADDED != 0 && ROWS > 1 ? $clog2(ROWS) : 0;
  localparam int ITEM = OFFSET + X + Y;
  localparam int BEAT = BEATS > 1 ? $clog2(BEATS) : 1;
  (* rom_style = "logic", ram_style = "logic" *) logic [OWN-1:0][ITEM-1:0] places[BEATS];
  initial for (int i = 0; i < BEATS; i++) places[i] = PLACE[OWN*ITEM*i+:OWN*ITEM];
  logic [BEAT-1:0] beat;
  logic [OWN-1:0][ITEM-1:0] item;
  logic [ADDRESS-1:0] base_q;
  always_ff @(posedge clk) begin
    if (rst) beat <= '0;
    else if (fire) beat <= last[0] ? '0 : beat + BEAT'(1);
    item   <= places[beat];
    base_q <= base;
  end

  localparam int WIDTH = LANES / OWN * BITS;
  logic [OWN-1:0][WIDTH-1:0] found;
  for (genvar i = 0; i < OWN; i++) begin : g_memory
    logic [ADDRESS:0] first, second;
    logic [ADDRESS-1:0] address;
    assign first  = {1'b0, base_q} + (ADDRESS + 1)'(item[i][OFFSET-1:0]);
    assign second = first - (ADDRESS + 1)'(PLACES);
    always_ff @(posedge clk) address <= second[ADDRESS] ? first[ADDRESS-1:0] : second[ADDRESS-1:0];
    if (STYLE == "block") begin : g_block
      (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] mem[PLACES];
      logic [WIDTH-1:0] read;
      always_ff @(posedge clk) begin
        if (take) mem[top] <= s_data[WIDTH*i+:WIDTH];
        read     <= mem[address];
        found[i] <= read;
      end
    end else begin : g_logic
`ifndef __ICARUS__
      (* ram_style = string'(STYLE) *)
`endif
      logic [WIDTH-1:0] mem[PLACES];
      always_ff @(posedge clk) begin
        if (take) mem[top] <= s_data[WIDTH*i+:WIDTH];
        found[i] <= mem[address];
      end
    end
  end

  // Which of them are padding.
  logic [OWN-1:0] real_q;
  if (PADDED == 0) begin : g_all_real
    assign real_q = '1;
  end else begin : g_padding
    logic [ROWS-1:0] image_y;
    logic [COLUMNS-1:0] image_x;
    logic [OWN-1:0] image;
    bf_window_axis #(
        .SIZE   (H),
        .BEFORE (TOP),
        .WINDOWS(OH),
        .STRIDE (SY),
        .PARTS  (1),
        .LANES  (ROWS),
        .AT     (ROW)
    ) axis_y (
        .clk,
        .rst,
        .move (fire),
        .part (1'b0),
        .again(turn[0] || turn[1]),
        .next (turn[2]),
        .first(turn[3]),
        .image(image_y)
    );
    bf_window_axis #(
        .SIZE   (W),
        .BEFORE (LEFT),
        .WINDOWS(OW),
        .STRIDE (SX),
        .PARTS  (1),
        .LANES  (COLUMNS),
        .AT     (COLUMN)
    ) axis_x (
        .clk,
        .rst,
        .move (fire),
        .part (1'b0),
        .again(turn[0]),
        .next (turn[1]),
        .first(turn[2] || turn[3]),
        .image(image_x)
    );
    for (genvar i = 0; i < OWN; i++) begin : g_own
      logic along, down;
      if (X > 0) begin : g_column
        assign along = image_x[item[i][OFFSET+:X]];
      end else begin : g_one_column
        assign along = image_x[0];
      end
      if (Y > 0) begin : g_row
        assign down = image_y[item[i][OFFSET+X+:Y]];
      end else begin : g_one_row
        assign down = image_y[0];
      end
      assign image[i] = along && down;
    end
    bf_delay #(
        .WIDTH (OWN),
        .CYCLES(FETCH - 1)
    ) wait_for_memory (
        .clk,
        .d(image),
        .q(real_q)
    );
  end

  logic [FETCH-1:0] under_way;
  always_ff @(posedge clk) under_way <= rst ? '0 : FETCH'({under_way, fire});

  logic [LANES-1:0][BITS-1:0] elements;
  logic [LANES-1:0][OUT_BITS-1:0] result;
  assign elements = found;
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    logic [OUT_BITS-1:0] element;
    if (TERNARY != 0) begin : g_ternary
      assign element = {{(OUT_BITS - 1) {!elements[i][0]}}, 1'b1};
    end else begin : g_number
      logic sign;
      assign sign    = SIGNED != 0 && elements[i][BITS-1];
      assign element = OUT_BITS'({{OUT_BITS{sign}}, elements[i]});
    end
    assign result[i] = real_q[i/(LANES/OWN)] ? element : PADDING[OUT_BITS-1:0];
  end
  bf_stream_out #(
      .WIDTH  (LANES * OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (under_way[FETCH-1]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
