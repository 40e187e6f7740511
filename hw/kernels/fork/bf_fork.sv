// Fork: copies every beat to each of COPIES outputs, which drain independently, at most three beats apart.
// Initiation interval: 1 beat per cycle. Latency: 2 cycles.
`default_nettype none

module bf_fork #(
    parameter int WIDTH  = 8,  // bits of a beat
    parameter int COPIES = 2   // outputs
) (
    input  wire logic                         clk,
    input  wire logic                         rst,
    input  wire logic                         s_valid,
    output      logic                         s_ready,
    input  wire logic [WIDTH-1:0]             s_data,
    output      logic [COPIES-1:0]            m_valid,
    input  wire logic [COPIES-1:0]            m_ready,
    output      logic [COPIES-1:0][WIDTH-1:0] m_data
);
  logic [COPIES-1:0] credit;
  logic fire, fired;
  logic [WIDTH-1:0] beat;
  assign s_ready = &credit;
  assign fire    = s_valid && s_ready;
  always_ff @(posedge clk) begin
    fired <= fire && !rst;
    beat  <= s_data;
  end

  for (genvar i = 0; i < COPIES; i++) begin : g_copy
    bf_stream_out #(
        .WIDTH  (WIDTH),
        .CREDITS(3)
    ) out (
        .clk,
        .rst,
        .credit (credit[i]),
        .start  (fire),
        .push   (fired),
        .data   (beat),
        .m_valid(m_valid[i]),
        .m_ready(m_ready[i]),
        .m_data (m_data[i])
    );
  end
endmodule
