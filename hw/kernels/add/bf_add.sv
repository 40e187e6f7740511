// Weighted sum of two streams, A_TIMES * a * 2^A_SHIFT + B_TIMES * b * 2^B_SHIFT, PE elements per beat. A beat that arrives before its partner
// waits in a register. Initiation interval: 1 beat per cycle. Latency: 2 cycles.
`default_nettype none

module bf_add #(
    parameter int           PE       = 1,         // elements a beat
    parameter int           A_BITS   = 8,         // bits of an element of the first stream
    parameter logic [127:0] A_KIND   = "signed",  // kind of its codes, as in bf_widen
    parameter int           A_TIMES  = 1,
    parameter int           A_SHIFT  = 0,
    parameter int           B_BITS   = 8,
    parameter logic [127:0] B_KIND   = "signed",
    parameter int           B_TIMES  = 1,
    parameter int           B_SHIFT  = 0,
    parameter int           OUT_BITS = 9          // bits of a sum, which is right modulo 2^OUT_BITS
) (
    input  wire logic                          clk,
    input  wire logic                          rst,
    input  wire logic [1:0]                    s_valid,
    output      logic [1:0]                    s_ready,
    input  wire logic [PE*(A_BITS+B_BITS)-1:0] s_data,   // the first stream in the low bits
    output      logic                          m_valid,
    input  wire logic                          m_ready,
    output      logic [PE*OUT_BITS-1:0]        m_data
);
  logic credit, fire, fired;
  bf_stream_join #(
      .INPUTS(2)
  ) terms (
      .clk,
      .rst,
      .s_valid,
      .s_ready,
      .credit,
      .fire
  );
  always_ff @(posedge clk) fired <= fire && !rst;

  logic [PE-1:0][OUT_BITS-1:0] a, b, sum;
  bf_widen #(
      .LANES   (PE),
      .IN_BITS (A_BITS),
      .OUT_BITS(OUT_BITS),
      .KIND    (A_KIND)
  ) widen_a (
      .codes   (s_data[0+:PE*A_BITS]),
      .integers(a)
  );
  bf_widen #(
      .LANES   (PE),
      .IN_BITS (B_BITS),
      .OUT_BITS(OUT_BITS),
      .KIND    (B_KIND)
  ) widen_b (
      .codes   (s_data[PE*A_BITS+:PE*B_BITS]),
      .integers(b)
  );
  for (genvar i = 0; i < PE; i++) begin : g_lane
    logic [OUT_BITS-1:0] a_product, b_product, a_term, b_term;
    bf_const_multiply #(
        .BITS  (OUT_BITS),
        .FACTOR(A_TIMES),
        .SHIFT (A_SHIFT)
    ) times_a (
        .value  (a[i]),
        .product(a_product)
    );
    bf_const_multiply #(
        .BITS  (OUT_BITS),
        .FACTOR(B_TIMES),
        .SHIFT (B_SHIFT)
    ) times_b (
        .value  (b[i]),
        .product(b_product)
    );
    always_ff @(posedge clk) begin
      if (s_ready[0]) a_term <= a_product;
      if (s_ready[1]) b_term <= b_product;
    end
    assign sum[i] = a_term + b_term;
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
      .data (sum),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
