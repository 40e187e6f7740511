// Memory of a sliding window: the last PLACES beats, of which POSITIONS are read at a time. Beats come in with `take`,
// one after the other, round and round. The reader is at one beat and looks at those OFFSETS[i] further on; with
// `move` it goes on by MOVES[i] for the bit i that is set in `turn`.
// Initiation interval: 1. Latency from the reader's being somewhere to `data`: POSITIONS > 1 ? 4 : 1 cycles, and 1 more
// in block RAM; what is looked at is read 2 cycles, or none, after the reader has been there.
//
// POSITIONS beats at a time need as many memories: beat n is in bank n modulo BANKS, where OFFSETS differ modulo BANKS.
`default_nettype none

module window_memory #(
    parameter int WIDTH     = 8,                                         // bits of a beat
    parameter int PLACES    = 16,                                        // a multiple of BANKS
    parameter int BANKS     = 1,
    parameter int POSITIONS = 1,
    parameter int TURNS     = 1,
    parameter int START     = 0,                                         // where the reader is at first
    parameter logic [POSITIONS-1:0][31:0] OFFSETS = '0,                  // from 0
    parameter logic [TURNS-1:0][31:0] MOVES = '0,                        // two's complement
    parameter string STYLE  = "distributed"                              // or "block"
) (
    input  wire logic                       clk,
    input  wire logic                       rst,
    input  wire logic                       take,
    input  wire logic [          WIDTH-1:0] beat,
    input  wire logic                       move,
    input  wire logic [          TURNS-1:0] turn,
    output      logic [POSITIONS*WIDTH-1:0] data
);
  localparam int DEPTH = PLACES / BANKS;
  localparam int WORD = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int BANK = BANKS > 1 ? $clog2(BANKS) : 1;

  function automatic int place(input int position);
    return (position % PLACES + PLACES) % PLACES;
  endfunction

  // Where the writer is.
  logic [BANK-1:0] into;
  logic [WORD-1:0] top;
  logic wrap;
  assign wrap = into == BANK'(BANKS - 1);
  always_ff @(posedge clk) begin
    if (rst) begin
      into <= '0;
      top  <= '0;
    end else if (take) begin
      into <= wrap ? '0 : into + BANK'(1);
      if (wrap) top <= top == WORD'(DEPTH - 1) ? '0 : top + WORD'(1);
    end
  end

  // Where the reader is. Sums are made with and without the wrap at the end, which is chosen by the sign of the second.
  logic [BANK-1:0] bank;
  logic [WORD-1:0] word;
  logic over;
  logic [WORD:0] words, far, near;
  logic unused_far, unused_near;
  always_comb begin
    words = '0;
    for (int i = 0; i < TURNS; i++) if (turn[i]) words |= (WORD + 1)'(place(int'(MOVES[i])) / BANKS);
  end
  assign {near, unused_near} = {1'b0, word, over} + {words, over};
  assign {far, unused_far}   = {1'b0, word, over} + {words - (WORD + 1)'(DEPTH), over};
  always_ff @(posedge clk) begin
    if (rst) word <= WORD'(place(START) / BANKS);
    else if (move) word <= far[WORD] ? near[WORD-1:0] : far[WORD-1:0];
  end
  if (BANKS == 1) begin : g_one_bank
    assign bank = '0;
    assign over = 1'b0;
  end else begin : g_bank
    logic [BANK:0] banks, above;
    always_comb begin
      banks = '0;
      for (int i = 0; i < TURNS; i++) if (turn[i]) banks |= (BANK + 1)'(place(int'(MOVES[i])) % BANKS);
    end
    assign above = {1'b0, bank} + banks - (BANK + 1)'(BANKS);
    assign over  = !above[BANK];
    always_ff @(posedge clk) begin
      if (rst) bank <= BANK'(place(START) % BANKS);
      else if (move) bank <= over ? above[BANK-1:0] : bank + banks[BANK-1:0];
    end
  end

  logic [BANKS-1:0][WIDTH-1:0] read;
  logic [BANKS-1:0][WORD-1:0] address;
  for (genvar b = 0; b < BANKS; b++) begin : g_memory
    logic write;
    assign write = take && into == BANK'(b);
    if (STYLE == "block") begin : g_block
      (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] mem[DEPTH];
      logic [WIDTH-1:0] ahead;
      always_ff @(posedge clk) begin
        if (write) mem[top] <= beat;
        ahead   <= mem[address[b]];
        read[b] <= ahead;
      end
    end else begin : g_logic
      (* ram_style = STYLE *) logic [WIDTH-1:0] mem[DEPTH];
      always_ff @(posedge clk) begin
        if (write) mem[top] <= beat;
        read[b] <= mem[address[b]];
      end
    end
  end

  if (BANKS == 1) begin : g_direct
    assign address = word;
    assign data    = read;
  end else begin : g_banked
    // With the reader in bank r, position i is in bank (r + OFFSETS[i]) modulo BANKS, and its word is this much further.
    function automatic logic [WORD-1:0] further(input int r, input int b);
      further = '0;
      for (int p = 0; p < POSITIONS; p++)
        if ((r + int'(OFFSETS[p])) % BANKS == b) further = WORD'((r + int'(OFFSETS[p])) / BANKS);
    endfunction

    logic [WORD-1:0] word_q;
    logic [BANK-1:0] bank_q;
    always_ff @(posedge clk) word_q <= word;
    for (genvar b = 0; b < BANKS; b++) begin : g_address
      logic [WORD-1:0] more, more_q;
      logic [WORD:0] first, second;
      always_comb begin
        more = '0;
        for (int r = 0; r < BANKS; r++) if (bank == BANK'(r)) more |= further(r, b);
      end
      assign first  = {1'b0, word_q} + {1'b0, more_q};
      assign second = first - (WORD + 1)'(DEPTH);
      always_ff @(posedge clk) begin
        more_q     <= more;
        address[b] <= second[WORD] ? first[WORD-1:0] : second[WORD-1:0];
      end
    end

    delay #(
        .WIDTH (BANK),
        .CYCLES(STYLE == "block" ? 4 : 3)
    ) wait_for_banks (
        .clk,
        .d(bank),
        .q(bank_q)
    );
    for (genvar i = 0; i < POSITIONS; i++) begin : g_position
      logic [(1<<BANK)-1:0][WIDTH-1:0] from;
      for (genvar r = 0; r < 1 << BANK; r++) begin : g_from
        assign from[r] = read[(r+int'(OFFSETS[i]))%BANKS];
      end
      always_ff @(posedge clk) data[i*WIDTH+:WIDTH] <= from[bank_q];
    end
  end
endmodule
