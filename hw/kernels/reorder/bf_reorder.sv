// Reordering of a frame: its beats in the order of a nest of LOOPS, the innermost first. A turn of a loop moves the
// position by its STRIDE; the first position is FIRST. Initiation interval: the number of input or output beats,
// whichever is larger. Latency: LATENCY cycles from the start of an output beat to m_valid.
//
// A writer fills a circular memory of PLACES beats. The reader waits until the REACH beats from a second position on
// have come in, which never goes backwards within a loop: its loops move it by WAITS, from START on. Beats below a
// third position, which moves by FREES, are not read any more.
`default_nettype none

module bf_reorder #(
    parameter int                  WIDTH   = 8,              // bits of a beat
    parameter int                  BEATS   = 16,             // beats of an input frame
    parameter int                  LOOPS   = 2,
    parameter logic [32*LOOPS-1:0] COUNT   = {32'd4, 32'd4}, // turns of each loop
    parameter logic [32*LOOPS-1:0] STRIDE  = {32'd1, 32'd4}, // two's complement
    parameter logic [32*LOOPS-1:0] WAITS   = {32'd1, 32'd4},
    parameter logic [32*LOOPS-1:0] FREES   = {32'd1, 32'd0},
    parameter int                  FIRST   = 0,
    parameter int                  START   = 0,
    parameter int                  REACH   = 1,
    parameter int                  PLACES  = 28,
    parameter logic [127:0]        STYLE   = "distributed",  // memory: or "block"
    parameter int                  LATENCY = 2,              // 1 + cycles of bf_window_memory
    parameter int                  CREDITS = 3               // entries of the output buffer
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             s_valid,
    output      logic             s_ready,
    input  wire logic [WIDTH-1:0] s_data,
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [WIDTH-1:0] m_data
);
  localparam int FETCH = LATENCY - 1;
  localparam int TURNS = LOOPS + 1;  // and the endless loop of the frames

  // The move of a position when loop i turns and those inside it restart.
  function automatic logic [32*TURNS-1:0] moves(input logic [32*LOOPS-1:0] steps);
    int inner;
    inner = 0;
    for (int i = 0; i < LOOPS; i++) begin
      moves[32*i+:32] = steps[32*i+:32] - inner;
      inner += (int'(COUNT[32*i+:32]) - 1) * int'(steps[32*i+:32]);
    end
    moves[32*LOOPS+:32] = BEATS - inner;
  endfunction

  function automatic int most(input logic [32*TURNS-1:0] values);
    most = 0;
    for (int i = 0; i < TURNS; i++) if (int'(values[32*i+:32]) > most) most = int'(values[32*i+:32]);
  endfunction

  localparam logic [32*TURNS-1:0] WAITED = moves(WAITS);
  localparam logic [32*TURNS-1:0] FREED = moves(FREES);

  // Loop i turns when those inside it are through.
  logic take, fire, credit;
  logic [TURNS-1:0] last, through, turn;
  assign through[0]    = 1'b1;
  assign last[TURNS-1] = 1'b0;
  assign turn          = through & ~last;
  for (genvar i = 0; i < LOOPS; i++) begin : g_loop
    assign through[i+1] = through[i] && last[i];
    bf_modulo_counter #(
        .COUNT(int'(COUNT[32*i+:32]))
    ) counter (
        .clk,
        .rst,
        .step(fire && through[i]),
        .last(last[i])
    );
  end

  // The writer goes on while there is room, the reader when what it waits for has come in: while they are not negative.
  localparam int POINT = $clog2(PLACES + START + REACH + most(WAITED) + most(FREED) + 2) + 1;
  logic [POINT-1:0] level, room, reads, freed;
  logic unused_level, unused_room;
  assign take    = s_valid && s_ready;
  assign s_ready = !room[POINT-1];
  assign fire    = credit && !level[POINT-1];
  always_comb begin
    reads = '0;
    freed = '1;
    for (int i = 0; i < TURNS; i++) begin
      if (fire && turn[i]) reads |= POINT'(-int'(WAITED[32*i+:32]));
      if (fire && turn[i]) freed &= POINT'(int'(FREED[32*i+:32]) - 1);
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

  logic [WIDTH-1:0] found;
  logic [FETCH-1:0] under_way;
  always_ff @(posedge clk) under_way <= rst ? '0 : FETCH'({under_way, fire});
  bf_window_memory #(
      .WIDTH  (WIDTH),
      .TAKEN  (1),
      .PLACES (PLACES),
      .BANKS  (1),
      .PIXELS (1),
      .TURNS  (TURNS),
      .START  (FIRST),
      .OFFSETS(32'd0),
      .MOVES  (moves(STRIDE)),
      .STYLE  (STYLE)
  ) memory (
      .clk,
      .rst,
      .take,
      .beat(s_data),
      .move(fire),
      .turn,
      .data(found)
  );
  bf_stream_out #(
      .WIDTH  (WIDTH),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (under_way[FETCH-1]),
      .data (found),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
