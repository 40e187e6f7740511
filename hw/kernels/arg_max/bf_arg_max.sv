// Arg-max: index of the largest of CLASSES values, the lowest index on a tie (FINN: LabelSelect with k = 1). A tree of
// comparators, registered at each level, reduces a beat of PE values; its winner is compared with the best of the
// previous beats. Initiation interval: 1 beat per cycle. Latency: 2 + ceil(log2(PE)) cycles.
`default_nettype none

module bf_arg_max #(
    parameter int CLASSES  = 10,  // values of a vector
    parameter int PE       = 1,   // values a beat; divides CLASSES
    parameter int IN_BITS  = 8,   // bits of a value
    parameter int SIGNED   = 1,   // 1: two's complement
    parameter int OUT_BITS = 4,   // bits of the index
    parameter int CREDITS  = 1    // entries of the output buffer
) (
    input  wire logic                       clk,
    input  wire logic                       rst,
    input  wire logic                       s_valid,
    output      logic                       s_ready,
    input  wire logic [PE-1:0][IN_BITS-1:0] s_data,
    output      logic                       m_valid,
    input  wire logic                       m_ready,
    output      logic [OUT_BITS-1:0]        m_data
);
  localparam int LEVELS = $clog2(PE);
`ifndef __ICARUS__
  if (CLASSES % PE != 0 || OUT_BITS < $clog2(CLASSES)) begin : g_bad_size
    $error("bf_arg_max: PE does not divide CLASSES, or OUT_BITS is too small");
  end
`endif

  // Control: the beat that fires, by the index of its lane 0, and what is known of those in the pipeline.
  logic credit, fire, first, last;
  logic [OUT_BITS-1:0] index_0;
  assign first   = index_0 == '0;
  assign last    = index_0 == OUT_BITS'(CLASSES - PE);
  assign s_ready = credit || !last;
  assign fire    = s_valid && s_ready;
  if (CLASSES == PE) begin : g_single
    assign index_0 = '0;
  end else begin : g_beats
    always_ff @(posedge clk) begin
      if (rst) index_0 <= '0;
      else if (fire) index_0 <= last ? '0 : index_0 + OUT_BITS'(PE);
    end
  end

  logic [LEVELS:0] valid, starts, ends;
  logic [OUT_BITS-1:0] base[LEVELS+1];
  always_ff @(posedge clk) begin
    valid   <= rst ? '0 : (LEVELS + 1)'({valid, fire});
    starts  <= (LEVELS + 1)'({starts, first});
    ends    <= (LEVELS + 1)'({ends, last});
    base[0] <= index_0;
    for (int i = 1; i <= LEVELS; i++) base[i] <= base[i-1];
  end

  // The tree, in offset binary.
  logic [PE-1:0][IN_BITS-1:0] values;
  logic [IN_BITS-1:0] top_value;
  logic [OUT_BITS-1:0] top_index;
  always_ff @(posedge clk) begin
    for (int i = 0; i < PE; i++) values[i] <= s_data[i] ^ (IN_BITS'(SIGNED) << (IN_BITS - 1));
  end
  bf_max_tree #(
      .COUNT     (PE),
      .BITS      (IN_BITS),
      .INDEX_BITS(OUT_BITS)
  ) tree (
      .clk,
      .values,
      .value(top_value),
      .index(top_index)
  );

  // The beat's winner against the best so far.
  logic [IN_BITS-1:0] best_value;
  logic [OUT_BITS-1:0] best_index, won_index, result;
  logic wins;
  assign won_index = base[LEVELS] + top_index;
  assign wins      = starts[LEVELS] || !(best_value >= top_value);
  assign result    = wins ? won_index : best_index;
  always_ff @(posedge clk) begin
    if (valid[LEVELS] && wins) best_value <= top_value;
    if (valid[LEVELS]) best_index <= result;
  end

  bf_stream_out #(
      .WIDTH  (OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && last),
      .push (valid[LEVELS] && ends[LEVELS]),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
