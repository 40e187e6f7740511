// Input buffer for reads of any order: BANKS memories with an address each, for two vectors of up to 2^INDEX beats.
// `take` stores one element of `beat` in each bank, at `place`; the write is WRITE_DELAY cycles late. `data` holds, for
// each bank, the element at its address in `places` of LATENCY cycles ago. Places that are never written hold zeros.
// Initiation interval: 1 cycle. Latency: 1 cycle with STYLE "distributed" (lookup-table RAM) or "logic" (registers),
// 2 cycles with "block" (block RAM).
`default_nettype none

module bf_banked_vector #(
    parameter int           WIDTH       = 8,   // bits of an element
    parameter int           BANKS       = 4,
    parameter int           INDEX       = 3,   // bits of a place in a vector
    parameter int           WRITE_DELAY = 1,
    parameter logic [127:0] STYLE       = "distributed"
) (
    input  wire logic                        clk,
    input  wire logic                        take,
    input  wire logic [          INDEX:0]    place,  // the highest bit: which of the two vectors
    input  wire logic [BANKS-1:0][WIDTH-1:0] beat,
    input  wire logic [BANKS-1:0][  INDEX:0] places,
    output      logic [BANKS-1:0][WIDTH-1:0] data
);
  logic take_q;
  logic [INDEX:0] place_q;
  logic [BANKS-1:0][WIDTH-1:0] beat_q;
  bf_delay #(
      .WIDTH (1 + INDEX + 1 + BANKS * WIDTH),
      .CYCLES(WRITE_DELAY)
  ) wait_for_readers (
      .clk,
      .d({take, place, beat}),
      .q({take_q, place_q, beat_q})
  );

  for (genvar b = 0; b < BANKS; b++) begin : g_bank
    if (STYLE == "block") begin : g_block
      (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] mem[2<<INDEX];
      initial for (int i = 0; i < 2 << INDEX; i++) mem[i] = '0;
      logic [WIDTH-1:0] read;
      always_ff @(posedge clk) begin
        if (take_q) mem[place_q] <= beat_q[b];
        read    <= mem[places[b]];
        data[b] <= read;
      end
    end else begin : g_logic
`ifndef __ICARUS__
      (* ram_style = string'(STYLE) *)
`endif
      logic [WIDTH-1:0] mem[2<<INDEX];
      initial for (int i = 0; i < 2 << INDEX; i++) mem[i] = '0;
      always_ff @(posedge clk) begin
        if (take_q) mem[place_q] <= beat_q[b];
        data[b] <= mem[places[b]];
      end
    end
  end
endmodule
