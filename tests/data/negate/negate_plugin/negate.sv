// Negation, PE elements per beat. Initiation interval: 1 beat per cycle. Latency: 2 cycles.
`default_nettype none

module negate #(
    parameter int    PE       = 1,
    parameter int    IN_BITS  = 4,
    parameter logic [127:0] IN_KIND = "signed",  // as in bf_widen
    parameter int    OUT_BITS = 5
) (
    input  wire logic                   clk,
    input  wire logic                   rst,
    input  wire logic                   s_valid,
    output      logic                   s_ready,
    input  wire logic [PE*IN_BITS-1:0]  s_data,
    output      logic                   m_valid,
    input  wire logic                   m_ready,
    output      logic [PE*OUT_BITS-1:0] m_data
);
  logic credit, fire, fired;
  assign s_ready = credit;
  assign fire    = s_valid && s_ready;

  logic [PE-1:0][OUT_BITS-1:0] value, result;
  bf_widen #(
      .LANES   (PE),
      .IN_BITS (IN_BITS),
      .OUT_BITS(OUT_BITS),
      .KIND    (IN_KIND)
  ) widen (
      .codes   (s_data),
      .integers(value)
  );
  always_ff @(posedge clk) begin
    fired <= fire && !rst;
    for (int i = 0; i < PE; i++) result[i] <= -value[i];
  end

  bf_stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(3)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (fired),
      .data (result),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
