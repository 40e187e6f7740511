// Both ends of a pipeline without stalls: a beat is taken where the output buffer has room for its result, and the
// result is pushed STAGES cycles later. The pipeline itself needs neither a reset nor an enable.
// Initiation interval: 1 beat per cycle. Latency from a taken beat to m_valid: STAGES + 1 cycles.
`default_nettype none

module bf_pipeline_out #(
    parameter int WIDTH  = 8,  // bits of a result
    parameter int STAGES = 1   // registers from the beat to its result; 0: none
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             s_valid,
    output      logic             s_ready,
    input  wire logic [WIDTH-1:0] data,     // the result of the beat that was taken STAGES cycles ago
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [WIDTH-1:0] m_data
);
  logic credit, fire, done;
  assign s_ready = credit;
  assign fire    = s_valid && credit;
  if (STAGES == 0) begin : g_same
    assign done = fire;
  end else begin : g_later
    logic [STAGES:1] fired;  // bit i: a beat was taken i cycles ago
    always_ff @(posedge clk) fired <= rst ? '0 : STAGES'({fired, fire});
    assign done = fired[STAGES];
  end

  bf_stream_out #(
      .WIDTH  (WIDTH),
      .CREDITS(STAGES + 2)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (done),
      .data,
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
