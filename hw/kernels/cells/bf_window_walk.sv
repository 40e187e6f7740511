// Control of a sliding window. A writer fills a circular memory of PLACES words, TAKEN words with each beat that it
// takes; a reader walks through the windows, in a nest of loops. `fire` goes to its next position in a cycle in which all
// words that it looks at are there. Loop 0 is the innermost; `turn[i]`: loop i turns with this firing, and those inside
// it start again; `last[i]`: loop i is in its last turn. The last loop, that of the frames, has no end.
// Initiation interval: 1 cycle. Latency: `fire` may be high 1 cycle after the last beat that it needs was taken.
`default_nettype none

module bf_window_walk #(
    parameter int                  TURNS      = 4,
    parameter logic [32*TURNS-1:0] COUNT      = '0,  // turns of each loop; 1 for the last
    // by which the position, and the oldest word that is needed, advance when a loop turns
    parameter logic [32*TURNS-1:0] MOVES      = '0,
    parameter logic [32*TURNS-1:0] FREED      = '0,
    parameter int                  START      = 0,   // first position
    parameter int                  REACH      = 1,   // words that a firing looks at, from its position on
    parameter int                  WORDS      = 64,  // of a frame
    parameter int                  TAKEN      = 1,
    parameter int                  PLACES     = 20,
    parameter int                  PADDED     = 0,   // 1: positions lie outside of the frame, too
    parameter int                  READ_DELAY = 0    // cycles from the firing until the memory is read
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             s_valid,
    output      logic             s_ready,
    output      logic             take,
    input  wire logic             credit,
    output      logic             fire,
    output      logic [TURNS-1:0] turn,
    output      logic [TURNS-1:0] last
);
  function automatic int most(input logic [32*TURNS-1:0] values);
    most = 0;
    for (int i = 0; i < TURNS; i++) if (int'(values[32*i+:32]) > most) most = int'(values[32*i+:32]);
  endfunction

  // Loop i turns when those inside it are through; the last one, that of the frames, has no end.
  logic [TURNS-1:0] through;
  assign through[0] = 1'b1;
  assign last[TURNS-1] = 1'b0;
  for (genvar i = 0; i < TURNS; i++) begin : g_turn
    assign turn[i] = through[i] && !last[i];
    if (i < TURNS - 1) begin : g_loop
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
  end

  // The writer goes on while there is room, the reader when what it looks at has come in: while they are not negative.
  // Words by which the last window reaches beyond the frame.
  localparam int BEYOND = START + REACH - int'(MOVES[32*(TURNS-1)+:32]);
  localparam int POINT = $clog2(PLACES + (START < 0 ? -START : START) + most(MOVES) + (BEYOND > 0 ? BEYOND : 0) + 2) + 1;
  logic [POINT-1:0] level, room, reads, freed;
  logic [TURNS-1:0] left;
  logic [POINT-1:0] more;  // words of a beat, but for the first
  logic moved, ended, unused_level, unused_room;
  assign take    = s_valid && s_ready;
  assign more    = take ? POINT'(TAKEN - 1) : '0;
  assign s_ready = !room[POINT-1];
  assign fire    = credit && (!level[POINT-1] || ended);
  bf_delay #(
      .WIDTH (TURNS + 1),
      .CYCLES(READ_DELAY)
  ) wait_for_reading (
      .clk,
      .d({fire && !rst, turn}),
      .q({moved, left})
  );
  always_comb begin
    reads = '0;
    freed = '1;
    for (int i = 0; i < TURNS; i++) begin
      if (fire && turn[i]) reads |= POINT'(-int'(MOVES[32*i+:32]));
      if (moved && left[i]) freed &= POINT'(int'(FREED[32*i+:32]) - 1);
    end
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      level <= POINT'(-START - REACH);
      room  <= POINT'(START + PLACES - TAKEN);
    end else begin
      {level, unused_level} <= {level, take} + {reads, take} + {more, 1'b0};
      {room, unused_room}   <= {room, !take} + {freed, !take} - {more, 1'b0};
    end
  end

  // Windows that reach below the frame's end are content with its end.
  if (PADDED == 0) begin : g_never_ended
    assign ended = 1'b0;
  end else begin : g_ended
    localparam int LEAD = $clog2(PLACES / WORDS + 3) + 1;
    logic [LEAD-1:0] lead, lead_next;  // frames written less frames read
    logic complete;
    bf_modulo_counter #(
        .COUNT(WORDS / TAKEN)
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
endmodule
