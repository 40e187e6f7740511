// Width converter: joins OUT_BITS / IN_BITS beats into one, or splits one into IN_BITS / OUT_BITS. The first beat, or
// part, is in the low bits. Initiation interval: 1 narrow beat per cycle. Latency: 1 cycle.
`default_nettype none

module bf_width_converter #(
    parameter int IN_BITS  = 8,   // bits of an input beat
    parameter int OUT_BITS = 32,  // bits of an output beat; one of the two divides the other
    parameter int CREDITS  = 2    // entries of the output buffer
) (
    input  wire logic                clk,
    input  wire logic                rst,
    input  wire logic                s_valid,
    output      logic                s_ready,
    input  wire logic [ IN_BITS-1:0] s_data,
    output      logic                m_valid,
    input  wire logic                m_ready,
    output      logic [OUT_BITS-1:0] m_data
);
  logic credit, give;
  logic [OUT_BITS-1:0] beat;

  bf_stream_out #(
      .WIDTH  (OUT_BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(give),
      .push (give),
      .data (beat),
      .m_valid,
      .m_ready,
      .m_data
  );

  if (OUT_BITS == IN_BITS) begin : g_same
    assign s_ready = credit;
    assign give    = s_valid && s_ready;
    assign beat    = s_data;
  end else if (OUT_BITS > IN_BITS) begin : g_join
    localparam int RATIO = OUT_BITS / IN_BITS;
    localparam int COUNT = $clog2(RATIO);
    logic [COUNT-1:0] step;
    logic [OUT_BITS-IN_BITS-1:0] held;
    logic last, take;
    assign last    = step == COUNT'(RATIO - 1);
    assign s_ready = credit || !last;
    assign take    = s_valid && s_ready;
    assign give    = take && last;
    assign beat    = {s_data, held};
    always_ff @(posedge clk) begin
      if (rst) step <= '0;
      else if (take) step <= last ? '0 : step + COUNT'(1);
      if (take) held <= (OUT_BITS - IN_BITS)'({s_data, held} >> IN_BITS);
    end
  end else begin : g_split
    localparam int RATIO = IN_BITS / OUT_BITS;
    localparam int COUNT = $clog2(RATIO);
    logic [COUNT-1:0] step;
    logic [IN_BITS-OUT_BITS-1:0] held;
    logic first;
    assign first   = step == '0;
    assign s_ready = credit && first;
    assign give    = credit && (s_valid || !first);
    assign beat    = first ? s_data[OUT_BITS-1:0] : held[OUT_BITS-1:0];
    always_ff @(posedge clk) begin
      if (rst) step <= '0;
      else if (give) step <= step == COUNT'(RATIO - 1) ? '0 : step + COUNT'(1);
      if (give) held <= first ? s_data[IN_BITS-1:OUT_BITS] : held >> OUT_BITS;
    end
  end
endmodule
