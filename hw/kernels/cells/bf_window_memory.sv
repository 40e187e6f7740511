// Circular memory of bf_sliding_window: the last PLACES words, of which PIXELS are read at a time. `take` writes a beat
// of TAKEN words after the one before it. The reader, at one word, reads the words OFFSETS[i] after it; `move` advances
// it by MOVES[i] for the set bit i of `turn`.
// Initiation interval: 1 cycle. Latency from the reader's position to `data`: 4 cycles with several BANKS, else 1
// cycle; block RAM takes 1 cycle more. The memory is read 2 cycles (BANKS > 1) or 0 cycles after the reader was at the
// position.
//
// Reading PIXELS words at a time takes several memories: word n is in bank n modulo BANKS, and the OFFSETS differ
// modulo BANKS. Where all moves are multiples of GRAIN, the reader is only in every GRAIN-th bank.
`default_nettype none

module bf_window_memory #(
    parameter int                   WIDTH   = 8,             // bits of a word
    parameter int                   TAKEN   = 1,             // words of a beat
    parameter int                   PLACES  = 16,            // a multiple of BANKS
    parameter int                   BANKS   = 1,             // a multiple of TAKEN
    parameter int                   PIXELS  = 1,
    parameter int                   TURNS   = 1,
    parameter int                   START   = 0,             // first position of the reader
    parameter logic [32*PIXELS-1:0] OFFSETS = '0,            // from 0
    parameter logic [32*TURNS-1:0]  MOVES   = '0,            // two's complement
    parameter logic [127:0]         STYLE   = "distributed"  // or "block"
) (
    input  wire logic                       clk,
    input  wire logic                       rst,
    input  wire logic                       take,
    input  wire logic [    TAKEN*WIDTH-1:0] beat,
    input  wire logic                       move,
    input  wire logic [          TURNS-1:0] turn,
    output      logic [PIXELS*WIDTH-1:0] data
);
  localparam int DEPTH = PLACES / BANKS;
  localparam int WORD = DEPTH > 1 ? $clog2(DEPTH) : 1;

  function automatic int place(input int position);
    place = (position % PLACES + PLACES) % PLACES;
  endfunction

  function automatic int grain();
    int rest, last;
    grain = BANKS;
    for (int i = 0; i < TURNS; i++) begin
      rest = (int'(MOVES[32*i+:32]) % BANKS + BANKS) % BANKS;
      while (rest != 0) begin
        last  = rest;
        rest  = grain % rest;
        grain = last;
      end
    end
  endfunction

  // Where the writer is.
  localparam int BEATS = BANKS / TAKEN;
  localparam int INTO = BEATS > 1 ? $clog2(BEATS) : 1;
  logic [INTO-1:0] into;
  logic [WORD-1:0] top;
  logic wrap;
  assign wrap = into == INTO'(BEATS - 1);
  always_ff @(posedge clk) begin
    if (rst) begin
      into <= '0;
      top  <= '0;
    end else if (take) begin
      into <= wrap ? '0 : into + INTO'(1);
      if (wrap) top <= top == WORD'(DEPTH - 1) ? '0 : top + WORD'(1);
    end
  end

  // The reader's position: `bank` is one of PHASES, each GRAIN banks after the one before. Two sums are computed,
  // without and with the wrap at the end; the sign of the second chooses.
  localparam int GRAIN = grain();
  localparam int PHASES = BANKS / GRAIN;
  localparam int FIRST = place(START) % BANKS;
  localparam int BANK = PHASES > 1 ? $clog2(PHASES) : 1;
  logic [BANK-1:0] bank;
  logic [WORD-1:0] word;
  logic over;
  logic [WORD:0] words, far, near;
  logic unused_far, unused_near;
  always_comb begin
    words = '0;
    for (int i = 0; i < TURNS; i++) if (turn[i]) words |= (WORD + 1)'(place(int'(MOVES[32*i+:32])) / BANKS);
  end
  assign {near, unused_near} = {1'b0, word, over} + {words, over};
  assign {far, unused_far}   = {1'b0, word, over} + {words - (WORD + 1)'(DEPTH), over};
  always_ff @(posedge clk) begin
    if (rst) word <= WORD'(place(START) / BANKS);
    else if (move) word <= far[WORD] ? near[WORD-1:0] : far[WORD-1:0];
  end
  if (PHASES == 1) begin : g_one_bank
    assign bank = '0;
    assign over = 1'b0;
  end else begin : g_bank
    logic [BANK:0] banks, above;
    always_comb begin
      banks = '0;
      for (int i = 0; i < TURNS; i++) if (turn[i]) banks |= (BANK + 1)'(place(int'(MOVES[32*i+:32])) % BANKS / GRAIN);
    end
    assign above = {1'b0, bank} + banks - (BANK + 1)'(PHASES);
    assign over  = !above[BANK];
    always_ff @(posedge clk) begin
      if (rst) bank <= BANK'(FIRST / GRAIN);
      else if (move) bank <= over ? above[BANK-1:0] : bank + banks[BANK-1:0];
    end
  end

  logic [BANKS-1:0][WIDTH-1:0] read;
  logic [BANKS-1:0][WORD-1:0] address;
  for (genvar b = 0; b < BANKS; b++) begin : g_memory
    logic write;
    logic [WIDTH-1:0] item;
    assign write = take && into == INTO'(b / TAKEN);
    assign item  = beat[b%TAKEN*WIDTH+:WIDTH];
    if (STYLE == "block") begin : g_block
      (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] mem[DEPTH];
      logic [WIDTH-1:0] ahead;
      always_ff @(posedge clk) begin
        if (write) mem[top] <= item;
        ahead   <= mem[address[b]];
        read[b] <= ahead;
      end
    end else begin : g_logic
`ifndef __ICARUS__
      (* ram_style = string'(STYLE) *)
`endif
      logic [WIDTH-1:0] mem[DEPTH];
      always_ff @(posedge clk) begin
        if (write) mem[top] <= item;
        read[b] <= mem[address[b]];
      end
    end
  end

  if (BANKS == 1) begin : g_direct
    assign address = word;
    assign data    = read;
  end else begin : g_banked
    // With the reader in bank r, pixel i is in bank (r + OFFSETS[i]) modulo BANKS, this many words further.
    function automatic logic [WORD-1:0] further(input int r, input int b);
      further = '0;
      for (int p = 0; p < PIXELS; p++)
        if ((r + int'(OFFSETS[32*p+:32])) % BANKS == b) further = WORD'((r + int'(OFFSETS[32*p+:32])) / BANKS);
    endfunction

    logic [WORD-1:0] word_q;
    logic [BANK-1:0] bank_q;
    always_ff @(posedge clk) word_q <= word;
    for (genvar b = 0; b < BANKS; b++) begin : g_address
      logic [WORD-1:0] more, more_q;
      logic [WORD:0] first, second;
      always_comb begin
        more = '0;
        for (int r = 0; r < PHASES; r++) if (bank == BANK'(r)) more |= further(FIRST % GRAIN + r * GRAIN, b);
      end
      assign first  = {1'b0, word_q} + {1'b0, more_q};
      assign second = first - (WORD + 1)'(DEPTH);
      always_ff @(posedge clk) begin
        more_q     <= more;
        address[b] <= second[WORD] ? first[WORD-1:0] : second[WORD-1:0];
      end
    end

    bf_delay #(
        .WIDTH (BANK),
        .CYCLES(STYLE == "block" ? 4 : 3)
    ) wait_for_banks (
        .clk,
        .d(bank),
        .q(bank_q)
    );
    for (genvar i = 0; i < PIXELS; i++) begin : g_position
      logic [(1<<BANK)-1:0][WIDTH-1:0] from;
      for (genvar r = 0; r < 1 << BANK; r++) begin : g_from
        assign from[r] = read[(FIRST%GRAIN+r*GRAIN+int'(OFFSETS[32*i+:32]))%BANKS];
      end
      always_ff @(posedge clk) data[i*WIDTH+:WIDTH] <= from[bank_q];
    end
  end
endmodule
