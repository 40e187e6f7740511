// Sums or maxima of DEPTH interleaved series. Values arrive in the order of the series, cyclically. `result` is the
// accumulated value of a series up to its latest value; `first` marks the first value of an accumulation.
// Initiation interval: 1 cycle. Latency: 1 cycle; 3 cycles with STYLE "block".
//
// STYLE "none": every value is first; "shift": shift register; "distributed", "logic": lookup-table RAM or registers,
// read and written in one cycle; "block": block RAM, for a DEPTH greater than the pipeline is long.
`default_nettype none

module bf_interleaved_accumulator #(
    parameter int           DEPTH     = 4,      // series
    parameter int           LANES     = 1,      // values at a time
    parameter int           BITS      = 8,      // bits of a value; sums are right modulo 2^BITS
    // sum, sum_carry (a carry bit comes with each value), max, signed_max, or
    parameter logic [127:0] OPERATION = "sum",
    parameter logic [127:0] STYLE     = "shift"
) (
    input  wire logic                       clk,
    input  wire logic                       rst,
    input  wire logic                       valid,
    input  wire logic                       first,
    input  wire logic [LANES-1:0][BITS-1:0] value,
    input  wire logic [LANES-1:0]           carry,   // 0 but for sum_carry
    output      logic [LANES-1:0][BITS-1:0] result
);
  // What is in the stage that reduces: a value and what its series gave before.
  logic here, here_first;
  logic [LANES-1:0][BITS-1:0] x, held, next;
  logic [LANES-1:0] c;
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    if (OPERATION == "sum" || OPERATION == "sum_carry") begin : g_sum
      logic [BITS-1:0] base;
      assign base = here_first ? '0 : held[i];
      if (OPERATION == "sum") begin : g_plain
        assign next[i] = base + x[i];
      end else begin : g_carry
        logic unused;
        assign {next[i], unused} = {base, c[i]} + {x[i], c[i]};
      end
    end else if (OPERATION == "or") begin : g_or
      assign next[i] = here_first ? x[i] : held[i] | x[i];
    end else begin : g_max
      // Two's complement in offset binary. (Written with >=, which is a carry chain on ECP5.)
      localparam logic [BITS-1:0] OFFSET = OPERATION == "signed_max" ? BITS'(1) << (BITS - 1) : '0;
      logic stays;
      assign stays   = (held[i] ^ OFFSET) >= (x[i] ^ OFFSET);
      assign next[i] = stays && !here_first ? held[i] : x[i];
    end
  end

  localparam int ADDRESS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  logic [ADDRESS-1:0] index;
  if (STYLE == "distributed" || STYLE == "logic" || STYLE == "block") begin : g_index
    always_ff @(posedge clk) begin
      if (rst) index <= '0;
      else if (valid) index <= index == ADDRESS'(DEPTH - 1) ? '0 : index + ADDRESS'(1);
    end
  end else begin : g_no_index
    assign index = '0;
  end

  if (STYLE == "block") begin : g_block
    (* ram_style = "block", no_rw_check *) logic [LANES*BITS-1:0] mem[DEPTH];
    logic [LANES*BITS-1:0] read;
    logic [1:0] coming;
    logic [ADDRESS-1:0] place;
    always_ff @(posedge clk) begin
      if (here) mem[place] <= next;
      read   <= mem[index];
      held   <= read;
      result <= next;
      coming <= rst ? '0 : {coming[0], valid};
    end
    assign here = coming[1];
    bf_delay #(
        .WIDTH (ADDRESS + 1 + LANES * (BITS + 1)),
        .CYCLES(2)
    ) wait_for_read (
        .clk,
        .d({index, first, value, carry}),
        .q({place, here_first, x, c})
    );
  end else begin : g_at_once
    assign here       = valid;
    assign here_first = first;
    assign x          = value;
    assign c          = carry;
    if (STYLE == "shift") begin : g_shift
      logic [DEPTH-1:0][LANES*BITS-1:0] stage;
      always_ff @(posedge clk) if (here) stage <= (DEPTH * LANES * BITS)'({stage, next});
      assign held   = stage[DEPTH-1];
      assign result = stage[0];
    end else if (STYLE == "none") begin : g_none
      assign held = '0;
      always_ff @(posedge clk) result <= next;
    end else begin : g_ram
`ifndef __ICARUS__
      (* ram_style = string'(STYLE) *)
`endif
      logic [LANES*BITS-1:0] mem[DEPTH];
      assign held = mem[index];
      always_ff @(posedge clk) begin
        if (here) mem[index] <= next;
        result <= next;
      end
    end
  end
endmodule
