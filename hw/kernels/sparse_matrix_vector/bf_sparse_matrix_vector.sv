// Matrix-vector product with constant sparse weights: dot products of SF * SIMD inputs, PE outputs at a time. A vector
// arrives in SF beats of SIMD elements, element i for bank i. Its outputs take FIRINGS firings: those of an output beat
// read LENGTH columns of each bank, or fewer, at addresses that a weight word holds beside the weights.
// Initiation interval: the larger of FIRINGS and SF cycles per vector. Latency: LATENCY cycles from the last firing of
// an output beat to m_valid. The first firing waits for the last beat of the vector; the banks hold two vectors, so that
// one arrives while the other is read.
//
// At most one firing per cycle. Nothing stalls after the firing: bf_stream_out has an entry for every result.
`default_nettype none

module bf_sparse_matrix_vector #(
    parameter int           PE               = 2,              // dot products at a time
    parameter int           SIMD             = 4,              // inputs at a time: banks
    parameter int           SF               = 4,              // beats of an input vector: columns of a bank
    parameter int           FIRINGS          = 8,              // for a vector
    parameter int           LENGTH           = 2,              // firings of an output beat, the maximum
    // 1: output beats differ in their number of firings; bit i of ENDS says whether firing i is the last of one
    parameter int           UNEVEN           = 0,
    parameter logic [32*((FIRINGS+31)/32)-1:0] ENDS = '0,
    parameter int           IN_BITS          = 4,              // this and what follows: as in bf_matrix_vector
    parameter int           IN_SIGNED        = 0,
    parameter int           W_BITS           = 4,
    parameter int           W_SIGNED         = 1,
    parameter int           OUT_BITS         = 8,
    parameter logic [127:0] DATAPATH         = "weight_planes",
    parameter int           PLANES           = 4,
    parameter int           PAIR_BITS        = 6,
    parameter int           OFFSET_BITS      = 7,
    parameter int           ADDERS_PER_STAGE = 2,
    parameter int           INPUT_LATENCY    = 3,              // cycles until the inputs are read
    parameter int           WEIGHT_LATENCY   = 2,              // cycles until the weight word is read
    parameter int           OPERAND_LATENCY  = 4,              // cycles until both are aligned
    parameter int           TREE_LATENCY     = 1,              // cycles of an adder tree
    parameter int           LATENCY          = 10,             // cycles from the last firing of a beat to m_valid
    parameter               WEIGHTS          = "weights",      // stem of the files: FIRINGS words
    parameter logic [127:0] STYLE            = "logic",        // memory and tiles as in bf_weight_memory
    parameter int           ROW              = 16,
    parameter int           BITS             = 8,
    parameter int           LAST_BITS        = 8,
    parameter int           PARITY           = 0,              // 1: a parity bit above the word
    parameter logic [127:0] BUFFER           = "distributed",  // banks, as in bf_banked_vector
    parameter int           CREDITS          = 2               // entries of the output buffer
) (
    input  wire logic                    clk,
    input  wire logic                    rst,
    input  wire logic                    s_valid,
    output      logic                    s_ready,
    input  wire logic [SIMD*IN_BITS-1:0] s_data,
    output      logic                    m_valid,
    input  wire logic                    m_ready,
    output      logic [ PE*OUT_BITS-1:0] m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                    parity_error
);
  localparam int PAIRS = (SIMD + 1) / 2;
  // Bits of a weight word for one output, and of the column of a bank.
  localparam int LINE = DATAPATH == "input_planes" ? PAIRS * 2 * PAIR_BITS + OFFSET_BITS : SIMD * W_BITS;
  localparam int INDEX = $clog2(SF);
  localparam int WIDTH = PE * LINE + SIMD * INDEX;

  localparam int DEPTH = LATENCY - 1;  // cycles from the firing to the sum
  localparam int PAIRED = DATAPATH == "weight_planes" ? 1 : 0;  // cycles from the inputs to the weights

`ifndef __ICARUS__
  if (DATAPATH != "weight_planes" && DATAPATH != "input_planes" && DATAPATH != "multiply") begin : g_bad_datapath
    $error("bf_sparse_matrix_vector: unknown DATAPATH");
  end
  if (OPERAND_LATENCY != INPUT_LATENCY + PAIRED) begin : g_bad_latency
    $error("bf_sparse_matrix_vector: the weights wait for the inputs");
  end
`endif

  // The writer: a vector after another, into the two halves of the banks in turn. `complete`: vectors that are there.
  logic [INDEX-1:0] column;
  logic write_half, whole, take, read;
  logic [1:0] complete, complete_next;
  logic available;
  assign take  = s_valid && s_ready;
  assign whole = take && column == INDEX'(SF - 1);
  always_comb begin
    complete_next = complete;
    if (whole && !read) complete_next = complete + 2'd1;
    else if (read && !whole) complete_next = complete - 2'd1;
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      column     <= '0;
      write_half <= 1'b0;
      complete   <= '0;
      available  <= 1'b0;
      s_ready    <= 1'b1;
    end else begin
      if (take) column <= whole ? '0 : column + INDEX'(1);
      if (whole) write_half <= !write_half;
      complete  <= complete_next;
      available <= complete_next != '0;
      s_ready   <= complete_next != 2'd2;
    end
  end

  // The reader: the next firing, and whether it can happen in this cycle. `read`: the last firing of a vector.
  localparam int WORD = $clog2(FIRINGS);
  logic [WORD-1:0] word;
  logic read_half, last, credit, fire;
  assign fire = available && (credit || !last);
  assign read = fire && word == WORD'(FIRINGS - 1);
  always_ff @(posedge clk) begin
    if (rst) begin
      word      <= '0;
      read_half <= 1'b0;
    end else if (fire) begin
      word <= read ? '0 : word + WORD'(1);
      if (read) read_half <= !read_half;
    end
  end
  if (UNEVEN == 0) begin : g_even
    bf_modulo_counter #(
        .COUNT(LENGTH)
    ) firing (
        .clk,
        .rst,
        .step(fire),
        .last
    );
  end else begin : g_uneven
    logic [WORD-1:0] after;  // the firing after the next one
    always_ff @(posedge clk) begin
      if (rst) begin
        after <= WORD'(1);
        last  <= ENDS[0];
      end else if (fire) begin
        after <= after == WORD'(FIRINGS - 1) ? '0 : after + WORD'(1);
        last  <= ENDS[32'(after)];
      end
    end
  end

  // In the pipeline: a firing, and whether it is the last of its dot products. Bit i: i + 1 cycles after the firing.
  logic [DEPTH-1:0] fired, ending;
  always_ff @(posedge clk) begin
    fired  <= rst ? '0 : DEPTH'({fired, fire});
    ending <= rst ? '0 : DEPTH'({ending, fire && last});
  end

  // Operands.
  logic [WIDTH+PARITY-1:0] stored;
  logic [PE-1:0][LINE-1:0] weights;
  bf_weight_memory #(
      .WIDTH    (WIDTH + PARITY),
      .DEPTH    (FIRINGS),
      .LATENCY  (WEIGHT_LATENCY),
      .STEM     (WEIGHTS),
      .STYLE    (STYLE),
      .ROW      (ROW),
      .BITS     (BITS),
      .LAST_BITS(LAST_BITS)
  ) weight_memory (
      .clk,
      .addr(word),
      .data(stored)
  );
  if (PARITY != 0) begin : g_parity
    bf_parity #(
        .WIDTH(WIDTH + 1)
    ) check (
        .clk,
        .rst,
        .used(fired[WEIGHT_LATENCY-1]),
        .word(stored),
        .parity_error
    );
  end else begin : g_no_parity
    assign parity_error = 1'b0;
  end

  logic half;
  logic [SIMD-1:0][INDEX:0] places;
  logic [SIMD*IN_BITS-1:0] inputs;
  bf_delay #(
      .WIDTH (1),
      .CYCLES(WEIGHT_LATENCY)
  ) wait_for_places (
      .clk,
      .d(read_half),
      .q(half)
  );
  for (genvar i = 0; i < SIMD; i++) begin : g_place
    assign places[i] = {half, stored[PE*LINE+i*INDEX+:INDEX]};
  end
  bf_banked_vector #(
      .WIDTH      (IN_BITS),
      .BANKS      (SIMD),
      .INDEX      (INDEX),
      .WRITE_DELAY(BUFFER == "block" ? WEIGHT_LATENCY : WEIGHT_LATENCY - 1),
      .STYLE      (BUFFER)
  ) banks (
      .clk,
      .take,
      .place ({write_half, column}),
      .beat  (s_data),
      .places,
      .data  (inputs)
  );
  bf_delay #(
      .WIDTH (PE * LINE),
      .CYCLES(OPERAND_LATENCY - WEIGHT_LATENCY)
  ) wait_for_inputs (
      .clk,
      .d(stored[PE*LINE-1:0]),
      .q(weights)
  );

  logic [PE*OUT_BITS-1:0] result;
  bf_dot_products #(
      .PE              (PE),
      .SIMD            (SIMD),
      .SF              (LENGTH),
      .IN_BITS         (IN_BITS),
      .IN_SIGNED       (IN_SIGNED),
      .W_BITS          (W_BITS),
      .W_SIGNED        (W_SIGNED),
      .OUT_BITS        (OUT_BITS),
      .DATAPATH        (DATAPATH),
      .PLANES          (PLANES),
      .PAIR_BITS       (PAIR_BITS),
      .OFFSET_BITS     (OFFSET_BITS),
      .ACC_INCREMENT   (PAIRED),
      .ADDERS_PER_STAGE(ADDERS_PER_STAGE),
      .TREE_LATENCY    (TREE_LATENCY)
  ) dots (
      .clk,
      .rst,
      .inputs,
      .weights,
      .add   (fired[DEPTH-1]),
      .ending(ending[DEPTH-1]),
      .result
  );

  bf_stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && last),
      .push (ending[DEPTH-1]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
