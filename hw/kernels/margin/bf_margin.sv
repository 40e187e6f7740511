// Margin: 1 if the largest of CLASSES values exceeds the second largest by THRESHOLD or more, else 0. Each value is
// compared with the largest two before it. Initiation interval: 1 value per cycle. Latency: 4 cycles.
`default_nettype none

module bf_margin #(
    parameter int CLASSES   = 10,  // values of a vector, two or more
    parameter int IN_BITS   = 8,   // bits of a value
    parameter int SIGNED    = 1,   // 1: two's complement
    parameter int THRESHOLD = 1,
    parameter int CREDITS   = 1    // entries of the output buffer
) (
    input  wire logic               clk,
    input  wire logic               rst,
    input  wire logic               s_valid,
    output      logic               s_ready,
    input  wire logic [IN_BITS-1:0] s_data,
    output      logic               m_valid,
    input  wire logic               m_ready,
    output      logic               m_data
);
  localparam int COUNT = $clog2(CLASSES);

  // Control: the value that fires, and what is known of those in the pipeline.
  logic credit, fire, first, last;
  logic [COUNT-1:0] index;
  assign first   = index == '0;
  assign last    = index == COUNT'(CLASSES - 1);
  assign s_ready = credit || !last;
  assign fire    = s_valid && s_ready;
  logic valid, starts, ends, done, decided;
  always_ff @(posedge clk) begin
    if (rst) index <= '0;
    else if (fire) index <= last ? '0 : index + COUNT'(1);
    valid   <= fire && !rst;
    starts  <= first;
    ends    <= last;
    done    <= valid && ends && !rst;
    decided <= done && !rst;
  end

  // The largest two values so far, in offset binary. The least value stands for none.
  logic [IN_BITS-1:0] value, best, second, difference;
  logic above, over;
  assign above = !(best >= value);
  assign over  = !(second >= value);
  always_ff @(posedge clk) begin
    value <= s_data ^ (IN_BITS'(SIGNED) << (IN_BITS - 1));
    if (valid) begin
      if (starts || above) best <= value;
      if (starts) second <= '0;
      else if (above) second <= best;
      else if (over) second <= value;
    end
    difference <= best - second;
  end

  bf_stream_out #(
      .WIDTH  (1),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire && last),
      .push (decided),
      .data (difference >= IN_BITS'(THRESHOLD)),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
