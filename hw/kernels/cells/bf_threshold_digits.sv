// The number of constant thresholds that x reaches, from the lowest digit to the highest. The lowest digits of x lie
// between those of the sorted thresholds; how many of them they reach is all that the comparison with the next digits
// needs. So each digit is a table, of the number for the digits below and the digit itself.
// Combinational, or, with REGISTERED = 1, a register after half of the tables: latency 1 cycle.
`default_nettype none

module bf_threshold_digits #(
    parameter int                    IN_BITS      = 8,
    parameter int                    OUT_BITS     = 1,
    parameter int                    OUT_MIN      = 0,
    parameter int                    STEPS        = 1,
    parameter int                    TABLE_INPUTS = 6,   // more than the bits of the number
    parameter int                    REGISTERED   = 0,
    parameter logic [STEPS*32-1:0]   BOUNDS       = '0,  // sorted
    parameter logic                  FALLS        = 1'b0  // 1: y counts the thresholds that x does not reach
) (
    input  wire logic                clk,
    input  wire logic [ IN_BITS-1:0] x,
    output      logic [OUT_BITS-1:0] y
);
  localparam int COUNT = $clog2(STEPS + 1);
  localparam int NEXT = TABLE_INPUTS - COUNT;  // bits of a digit but the lowest
  localparam int LOWEST = IN_BITS < TABLE_INPUTS ? IN_BITS : TABLE_INPUTS;
  localparam int DIGITS = 1 + (IN_BITS - LOWEST + NEXT - 1) / NEXT;

  function automatic int below(input int digit);  // bits below a digit
    below = digit == 0 ? 0 : digit == DIGITS ? IN_BITS : LOWEST + (digit - 1) * NEXT;
  endfunction

  // The table of a digit: by the number for the digits below (the high bits of the address) and the digit itself. That
  // of the highest digit holds y.
  function automatic logic [(OUT_BITS<<TABLE_INPUTS)-1:0] numbers(input int digit);
    int low, bits, rank, number;
    logic [31:0] bound, part;
    logic [32*STEPS-1:0] ranks;  // how many thresholds have low bits that are at most as large
    low  = below(digit);
    bits = below(digit + 1) - low;
    for (int i = 0; i < STEPS; i++) begin
      rank = 0;
      for (int j = 0; j < STEPS; j++) begin
        if (BOUNDS[32*j+:32] << (32 - low) <= BOUNDS[32*i+:32] << (32 - low)) rank++;
      end
      ranks[32*i+:32] = digit == 0 ? 0 : rank;
    end
    for (int address = 0; address < 1 << TABLE_INPUTS; address++) begin
      part   = address & ((1 << bits) - 1);
      number = 0;
      for (int i = 0; i < STEPS; i++) begin
        bound = BOUNDS[32*i+:32] >> low;
        if (digit < DIGITS - 1) bound = bound & ((1 << bits) - 1);
        if (part > bound || (part == bound && address >> bits >= ranks[32*i+:32])) number++;
      end
      if (digit == DIGITS - 1) number = OUT_MIN + (FALLS ? STEPS - number : number);
      numbers[OUT_BITS*address+:OUT_BITS] = OUT_BITS'(number);
    end
  endfunction

  for (genvar digit = 0; digit < DIGITS; digit++) begin : g_digit
    localparam int LOW = below(digit);
    localparam int BITS = below(digit + 1) - LOW;
    localparam logic [(OUT_BITS<<TABLE_INPUTS)-1:0] NUMBERS = numbers(digit);
    logic [(1<<TABLE_INPUTS)-1:0][OUT_BITS-1:0] by_address;
    logic [IN_BITS-1:0] value, value_next;
    logic [OUT_BITS-1:0] reached, reached_next;  // thresholds that the bits below reach
    if (digit == 0) begin : g_lowest
      assign value   = x;
      assign reached = '0;
    end else begin : g_higher
      assign value   = g_digit[digit-1].value_next;
      assign reached = g_digit[digit-1].reached_next;
    end
    logic [TABLE_INPUTS-1:0] address;
    logic [OUT_BITS-1:0] number;
    assign address    = TABLE_INPUTS'({reached[COUNT-1:0], value[LOW+:BITS]});
    assign by_address = NUMBERS;
    assign number     = by_address[address];
    if (REGISTERED != 0 && digit == (DIGITS - 1) / 2) begin : g_register
      always_ff @(posedge clk) begin
        reached_next <= number;
        value_next   <= value;
      end
    end else begin : g_wire
      assign reached_next = number;
      assign value_next   = value;
    end
  end
  assign y = g_digit[DIGITS-1].reached_next;
endmodule
