// Folded lookup network: PE tables of K inputs a cycle, whose wires and contents are in memories. A position is loaded,
// a beat at a time; an encoder, if there is one, compares its features with levels; then come the layers' tables, those
// of the last layer to the output, all others to the memories of bits, of which there is one for each input of a table.
// Initiation interval: LOADS + ENCODES + STEPS cycles a position. Latency from the last step of an output beat to
// m_valid: 4 + WIRES_LATENCY cycles with OUTPUT "bits" and one table a cycle, with several tables one more; with "sums"
// one more, and one more with several tables; with "index" another one.
`default_nettype none

module bf_folded_lookup_network #(
    parameter int              IN_BITS        = 1,        // bits of an input element
    parameter int              IN_SIGNED      = 0,        // 1: features are in two's complement
    parameter int              LOADS          = 8,        // input beats of a position
    parameter int              ENCODES        = 0,        // steps of the encoder; 0: the input is bits, PE a beat
    parameter int              STEPS          = 16,       // steps of the layers
    parameter int              HIDDEN         = 8,        // of these, the first ones whose outputs are written
    parameter int              PE             = 1,        // tables a cycle, a power of two
    parameter int              K              = 4,        // inputs of a table
    parameter int              WORDS          = 16,       // written words of PE bits of a position
    parameter int              WORD_BITS      = 4,        // bits of their address
    parameter int              FEATURE_BITS   = 1,        // bits of the number of a feature
    parameter int              CODE_BITS      = 1,        // bits of a level
    parameter logic [127:0]    BITS_STYLE     = "block",  // of the memories of bits: see bf_banked_vector
    parameter logic [127:0]    FEATURES_STYLE = "block",  // of those of features
    parameter logic [ 63:0]    OUTPUT         = "bits",   // "bits", "sums" by class, or the "index" of the largest sum
    parameter int              CLASSES        = 1,
    parameter int              TURNS          = 1,        // steps of a class
    parameter int              SUM_BITS       = 1,
    parameter int              SUM_SIGNED     = 0,
    parameter bit [32*CLASSES-1:0] OFFSETS = '0,       // added to the sum of each class
    parameter int              INDEX_BITS     = 1,
    parameter int              CREDITS        = 2,        // beats of the output buffer
    parameter int              PARITY         = 0,        // 1: some of the memories have parity bits
    // Memories of constants, see bf_weight_memory. A word of the encoder has for each lane a feature, in the low bits,
    // and a level; of WIRES, for each lane K numbers of bits; of TABLES, for each lane a table.
    parameter                  ENCODER           = "encoder",
    parameter int              ENCODER_LATENCY   = 2,
    parameter logic [127:0]    ENCODER_STYLE     = "logic",
    parameter int              ENCODER_ROW       = 1,
    parameter int              ENCODER_BITS      = 1,
    parameter int              ENCODER_LAST_BITS = 1,
    parameter int              ENCODER_PARITY    = 0,
    parameter                  WIRES             = "wires",
    parameter int              WIRES_LATENCY     = 2,
    parameter logic [127:0]    WIRES_STYLE       = "logic",
    parameter int              WIRES_ROW         = 1,
    parameter int              WIRES_BITS        = 1,
    parameter int              WIRES_LAST_BITS   = 1,
    parameter int              WIRES_PARITY      = 0,
    parameter                  TABLES            = "tables",
    parameter int              TABLES_LATENCY    = 2,     // that of WIRES
    parameter logic [127:0]    TABLES_STYLE      = "logic",
    parameter int              TABLES_ROW        = 1,
    parameter int              TABLES_BITS       = 1,
    parameter int              TABLES_LAST_BITS  = 1,
    parameter int              TABLES_PARITY     = 0,
    localparam int             IN_LANES  = ENCODES > 0 ? 1 : PE,
    localparam int             OUT_BITS  = OUTPUT == "bits" ? PE : OUTPUT == "sums" ? SUM_BITS : INDEX_BITS
) (
    input  wire logic                        clk,
    input  wire logic                        rst,
    input  wire logic                        s_valid,
    output      logic                        s_ready,
    input  wire logic [IN_LANES*IN_BITS-1:0] s_data,
    output      logic                        m_valid,
    input  wire logic                        m_ready,
    output      logic [        OUT_BITS-1:0] m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                        parity_error
);
  localparam int READ = 2;  // cycles from an address to a word of bits, or to a feature
  localparam int CHOOSE = PE > 1 ? 1 : 0;  // to a bit of a word
  localparam int BITS_AT = WIRES_LATENCY + READ + CHOOSE;  // the bits that a step reads, so many cycles after it
  localparam int RESULT_AT = BITS_AT + 1;
  localparam int ENCODED_AT = ENCODER_LATENCY + READ + 1;
  localparam int WRITE_AT = ENCODES > 0 && ENCODED_AT > RESULT_AT ? ENCODED_AT : RESULT_AT;
  localparam int LANE = $clog2(PE);
  localparam int WIRE = WORD_BITS + LANE;

  // ---- control: three phases, each of which counts its steps

  localparam int LONGER = ENCODES > STEPS ? ENCODES : STEPS;
  localparam int LONGEST = LOADS > LONGER ? LOADS : LONGER;
  localparam int COUNT = LONGEST > 1 ? $clog2(LONGEST) : 1;
  logic loading, encoding, looking;
  logic hidden;  // the outputs of this step of the layers are written
  logic [COUNT-1:0] step;
  logic credit, fire, last, produces, class_last;
  assign s_ready  = loading;
  assign fire     = (s_valid || !loading) && (credit || !produces);
  assign last     = step == (loading ? COUNT'(LOADS - 1) : looking ? COUNT'(STEPS - 1) : COUNT'(ENCODES - 1));
  assign produces = looking && !hidden && (OUTPUT == "index" ? last : class_last);
  always_ff @(posedge clk) begin
    if (rst) begin
      loading  <= 1'b1;
      encoding <= 1'b0;
      looking  <= 1'b0;
      hidden   <= 1'b1;
      step     <= '0;
    end else if (fire) begin
      step <= last ? '0 : step + COUNT'(1);
      if (last) begin
        loading  <= looking;
        encoding <= loading && ENCODES > 0;
        looking  <= loading ? ENCODES == 0 : encoding;
      end
      if (looking) hidden <= last || hidden && step != COUNT'(HIDDEN - 1);
    end
  end

  // Bit i of these: i cycles ago there was
  logic [BITS_AT:0] looked;  // a step of the layers
  logic [WRITE_AT:0] entered;  // a word of the encoder or the input
  logic [WRITE_AT:0] stored;  // a step whose outputs are written
  logic [RESULT_AT:0] result;  // a step of the last layer
  logic [RESULT_AT:0] ended;  // the last step of a class
  logic [BITS_AT:1] looked_q;
  logic [WRITE_AT:1] entered_q, stored_q;
  logic [RESULT_AT:1] result_q, ended_q;
  assign looked  = {looked_q, fire && looking};
  assign entered = {entered_q, fire && (ENCODES > 0 ? encoding : loading)};
  assign stored  = {stored_q, fire && looking && hidden};
  assign result  = {result_q, fire && looking && !hidden};
  assign ended   = {ended_q, result[0] && class_last};
  always_ff @(posedge clk) begin
    looked_q  <= rst ? '0 : looked[BITS_AT-1:0];
    entered_q <= rst ? '0 : entered[WRITE_AT-1:0];
    stored_q  <= rst ? '0 : stored[WRITE_AT-1:0];
    result_q  <= rst ? '0 : result[RESULT_AT-1:0];
    ended_q   <= rst ? '0 : ended[RESULT_AT-1:0];
  end

  bf_modulo_counter #(
      .COUNT(TURNS)
  ) turns (
      .clk,
      .rst,
      .step(result[0]),
      .last(class_last)
  );

  // ---- the words of the encoder or the input, WRITE_AT cycles after their steps

  logic [PE-1:0] entry;
  logic [2:0] parity_errors;
  assign parity_error = parity_errors != '0;
  if (ENCODES > 0) begin : g_encoder
    logic [PE-1:0] reached;
    bf_level_encoder #(
        .IN_BITS     (IN_BITS),
        .IN_SIGNED   (IN_SIGNED),
        .LANES       (PE),
        .STEPS       (ENCODES),
        .STEP_BITS   (COUNT),
        .FEATURE_BITS(FEATURE_BITS),
        .CODE_BITS   (CODE_BITS),
        .READ        (READ),
        .STYLE       (FEATURES_STYLE),
        .LEVELS      (ENCODER),
        .LATENCY     (ENCODER_LATENCY),
        .LEVELS_STYLE(ENCODER_STYLE),
        .ROW         (ENCODER_ROW),
        .BITS        (ENCODER_BITS),
        .LAST_BITS   (ENCODER_LAST_BITS),
        .PARITY      (ENCODER_PARITY)
    ) encoder (
        .clk,
        .rst,
        .take        (fire && loading),
        .feature     (s_data),
        .encode      (entered[0]),
        .step,
        .reached,
        .parity_error(parity_errors[0])
    );
    bf_delay #(
        .WIDTH (PE),
        .CYCLES(WRITE_AT - ENCODED_AT)
    ) wait_for_layers (
        .clk,
        .d(reached),
        .q(entry)
    );
  end else begin : g_bits
    bf_delay #(
        .WIDTH (PE),
        .CYCLES(WRITE_AT)
    ) wait_for_layers (
        .clk,
        .d(s_data),
        .q(entry)
    );
    assign parity_errors[0] = 1'b0;
  end

  // ---- the memories of bits

  logic [PE-1:0] y, y_q;  // the outputs of the tables
  logic [WORD_BITS-1:0] place;
  logic write;
  assign write = entered[WRITE_AT] || stored[WRITE_AT];
  always_ff @(posedge clk) begin
    if (rst) place <= '0;
    else if (write) place <= place == WORD_BITS'(WORDS - 1) ? '0 : place + WORD_BITS'(1);
  end
  bf_delay #(
      .WIDTH (PE),
      .CYCLES(WRITE_AT - RESULT_AT)
  ) wait_for_encoder (
      .clk,
      .d(y),
      .q(y_q)
  );
  localparam int PORTS = PE * K;
  logic [PORTS-1:0][WORD_BITS-1:0] places;
  logic [PORTS-1:0][PE-1:0] read, word;
  bf_banked_vector #(
      .WIDTH      (PE),
      .BANKS      (PORTS),
      .INDEX      (WORD_BITS - 1),
      .WRITE_DELAY(0),
      .STYLE      (BITS_STYLE)
  ) bits (
      .clk,
      .take  (write),
      .place,
      .beat  ({PORTS{entered[WRITE_AT] ? entry : y_q}}),
      .places,
      .data  (read)
  );
  bf_delay #(
      .WIDTH (PORTS * PE),
      .CYCLES(BITS_STYLE == "block" ? 0 : 1)
  ) wait_for_bits (
      .clk,
      .d(read),
      .q(word)
  );

  // ---- the tables: the memory of their contents is read when their bits are

  localparam int WIRES_WIDTH = PORTS * WIRE;
  localparam int TABLES_WIDTH = PE << K;
  localparam int ADDR = STEPS > 1 ? $clog2(STEPS) : 1;
  logic [ADDR-1:0] step_q;
  logic [WIRES_WIDTH+WIRES_PARITY-1:0] wires_word;
  logic [TABLES_WIDTH+TABLES_PARITY-1:0] tables_word;
  bf_weight_memory #(
      .WIDTH    (WIRES_WIDTH + WIRES_PARITY),
      .DEPTH    (STEPS),
      .LATENCY  (WIRES_LATENCY),
      .STEM     (WIRES),
      .STYLE    (WIRES_STYLE),
      .ROW      (WIRES_ROW),
      .BITS     (WIRES_BITS),
      .LAST_BITS(WIRES_LAST_BITS)
  ) wires (
      .clk,
      .addr(step[ADDR-1:0]),
      .data(wires_word)
  );
  bf_delay #(
      .WIDTH (ADDR),
      .CYCLES(READ + CHOOSE)
  ) wait_for_wires (
      .clk,
      .d(step[ADDR-1:0]),
      .q(step_q)
  );
  bf_weight_memory #(
      .WIDTH    (TABLES_WIDTH + TABLES_PARITY),
      .DEPTH    (STEPS),
      .LATENCY  (TABLES_LATENCY),
      .STEM     (TABLES),
      .STYLE    (TABLES_STYLE),
      .ROW      (TABLES_ROW),
      .BITS     (TABLES_BITS),
      .LAST_BITS(TABLES_LAST_BITS)
  ) contents (
      .clk,
      .addr(step_q),
      .data(tables_word)
  );

  logic [PORTS-1:0][WIRE-1:0] wire_of;
  logic [PE-1:0][K-1:0] address;
  logic [PE-1:0][(1<<K)-1:0] table_of;
  assign wire_of  = wires_word[WIRES_WIDTH-1:0];
  assign table_of = tables_word[TABLES_WIDTH-1:0];
  for (genvar i = 0; i < PORTS; i++) begin : g_port
    assign places[i] = wire_of[i][WIRE-1:LANE];
    if (PE > 1) begin : g_lane
      logic [LANE-1:0] lane;
      bf_delay #(
          .WIDTH (LANE),
          .CYCLES(READ)
      ) wait_for_word (
          .clk,
          .d(wire_of[i][LANE-1:0]),
          .q(lane)
      );
      always_ff @(posedge clk) address[i/K][i%K] <= word[i][lane];
    end else begin : g_bit
      assign address[i/K][i%K] = word[i];
    end
  end
  for (genvar p = 0; p < PE; p++) begin : g_table
    always_ff @(posedge clk) y[p] <= table_of[p][address[p]];
  end

  if (WIRES_PARITY != 0) begin : g_wires_parity
    bf_parity #(
        .WIDTH(WIRES_WIDTH + 1)
    ) check (
        .clk,
        .rst,
        .used(looked[WIRES_LATENCY]),
        .word(wires_word),
        .parity_error(parity_errors[1])
    );
  end else begin : g_no_wires_parity
    assign parity_errors[1] = 1'b0;
  end
  if (TABLES_PARITY != 0) begin : g_tables_parity
    bf_parity #(
        .WIDTH(TABLES_WIDTH + 1)
    ) check (
        .clk,
        .rst,
        .used(looked[BITS_AT]),
        .word(tables_word),
        .parity_error(parity_errors[2])
    );
  end else begin : g_no_tables_parity
    assign parity_errors[2] = 1'b0;
  end

  // ---- the output

  logic push;
  logic [OUT_BITS-1:0] out_data;
  if (OUTPUT == "bits") begin : g_out_bits
    assign push = result[RESULT_AT];
    assign out_data = y;
  end else begin : g_count
    bf_class_sums #(
        .BITS      (PE),
        .CLASSES   (CLASSES),
        .SUM_BITS  (SUM_BITS),
        .SUM_SIGNED(SUM_SIGNED),
        .OFFSETS   (OFFSETS),
        .INDEX_BITS(INDEX_BITS),
        .LARGEST   (OUTPUT == "index" ? 1 : 0)
    ) sums (
        .clk,
        .rst,
        .counts(result[RESULT_AT]),
        .ends  (ended[RESULT_AT]),
        .bits  (y),
        .push,
        .data  (out_data)
    );
  end

  bf_stream_out #(
      .WIDTH  (OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && produces),
      .push,
      .data (out_data),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
