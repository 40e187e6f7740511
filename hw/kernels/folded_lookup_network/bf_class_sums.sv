// Popcount by class, class after class: BITS bits a cycle are counted, and the sum of a class, with its offset, leaves
// with its last ones. With LARGEST the index of the largest sum leaves with the last class instead, the lowest on a tie.
// Initiation interval: 1 cycle. Latency from `ends` to `push`: 1 cycle, one more with several bits, one more with
// LARGEST.
`default_nettype none

module bf_class_sums #(
    parameter  int                      BITS       = 1,   // counted in a cycle
    parameter  int                      CLASSES    = 2,
    parameter  int                      SUM_BITS   = 4,
    parameter  int                      SUM_SIGNED = 0,
    parameter  bit [32*CLASSES-1:0]  OFFSETS    = '0,  // added to the sum of each class
    parameter  int                      INDEX_BITS = 1,
    parameter  int                      LARGEST    = 0,   // 1: the index of the largest sum, 0: the sums
    localparam int                      OUT_BITS   = LARGEST != 0 ? INDEX_BITS : SUM_BITS
) (
    input  wire logic                clk,
    input  wire logic                rst,
    input  wire logic                counts,  // `bits` belong to a class
    input  wire logic                ends,    // and are its last ones
    input  wire logic [    BITS-1:0] bits,
    output      logic                push,    // `data` leaves
    output      logic [OUT_BITS-1:0] data
);
  localparam int ONES = $clog2(BITS + 1);
  localparam int CLASS = CLASSES > 1 ? $clog2(CLASSES) : 1;

  logic [ONES-1:0] ones;
  logic counts_q, ends_q;  // `counts` and `ends` of `ones`
  if (BITS == 1) begin : g_bit
    assign ones     = bits;
    assign counts_q = counts;
    assign ends_q   = ends;
  end else begin : g_bits
    logic [ONES-1:0] total;
    always_comb begin
      total = '0;
      for (int i = 0; i < BITS; i++) total += ONES'(bits[i]);
    end
    always_ff @(posedge clk) begin
      ones     <= total;
      counts_q <= !rst && counts;
      ends_q   <= !rst && ends;
    end
  end

  logic first, summed;  // the next ones are the first of their class; `sum` is complete
  logic [CLASS-1:0] class_now, class_of;  // of `ones`; of `sum`
  logic [SUM_BITS-1:0] sum, offset;
  always_comb begin
    offset = '0;
    for (int c = 0; c < CLASSES; c++) if (class_now == CLASS'(c)) offset = SUM_BITS'(OFFSETS[32*c+:32]);
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      first     <= 1'b1;
      summed    <= 1'b0;
      class_now <= '0;
    end else begin
      summed <= ends_q;
      if (counts_q) first <= ends_q;
      if (ends_q) class_now <= class_now == CLASS'(CLASSES - 1) ? '0 : class_now + CLASS'(1);
    end
    class_of <= class_now;
    if (counts_q) sum <= (first ? offset : sum) + SUM_BITS'(ones);
  end

  if (LARGEST == 0) begin : g_sums
    assign push = summed;
    assign data = sum;
  end else begin : g_largest
    localparam logic [SUM_BITS-1:0] FLIP = SUM_BITS'(SUM_SIGNED) << (SUM_BITS - 1);
    logic [SUM_BITS-1:0] largest;
    logic [INDEX_BITS-1:0] index;
    logic larger, done;
    assign larger = class_of == '0 || (sum ^ FLIP) > (largest ^ FLIP);
    always_ff @(posedge clk) begin
      if (summed && larger) begin
        largest <= sum;
        index   <= INDEX_BITS'(class_of);
      end
      done <= !rst && summed && class_of == CLASS'(CLASSES - 1);
    end
    assign push = done;
    assign data = index;
  end
endmodule
