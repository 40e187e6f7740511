// Multi-threshold with its thresholds in the logic: y = OUT_MIN + the number of thresholds of its channel that x
// reaches, or, in the channels that FALLING marks, OUT_MIN + the number that it does not reach. A beat holds all channels
// of the PIXELS positions. Initiation interval: 1 beat per cycle. Latency: LATENCY cycles, 1 or 2.
`default_nettype none

module bf_constant_threshold #(
    parameter int IN_BITS = 8,  // bits of an input element
    parameter int SIGNED = 0,  // 1: two's complement
    parameter int OUT_BITS = 1,  // bits of an output element
    parameter int OUT_MIN = 0,  // least output
    parameter int STEPS = 1,  // thresholds of a channel
    parameter int CHANNELS = 1,
    parameter int PIXELS = 1,
    // inputs of a lookup table of the search from digit to digit; 0: comparisons side by side
    parameter int TABLE_INPUTS = 0,
    parameter int LATENCY = 1,  // 2: with a register in the middle of the logic
    // sorted, in offset binary, 2^IN_BITS is never reached; channel 0 in the low bits
    parameter logic [CHANNELS*STEPS*32-1:0] THRESHOLDS = '0,
    parameter logic [(CHANNELS+31)/32*32-1:0] FALLING = '0  // channels that decrease
) (
    input  wire logic                                            clk,
    input  wire logic                                            rst,
    input  wire logic                                            s_valid,
    output      logic                                            s_ready,
    input  wire logic [PIXELS-1:0][CHANNELS-1:0][ IN_BITS-1:0] s_data,
    output      logic                                            m_valid,
    input  wire logic                                            m_ready,
    output      logic [PIXELS-1:0][CHANNELS-1:0][OUT_BITS-1:0] m_data
);
  logic credit, fire, done;
  assign s_ready = credit;
  assign fire    = s_valid && credit;
  if (LATENCY > 1) begin : g_valid
    always_ff @(posedge clk) done <= fire && !rst;
  end else begin : g_same
    assign done = fire;
  end

  logic [PIXELS-1:0][CHANNELS-1:0][OUT_BITS-1:0] y;
  for (genvar pixel = 0; pixel < PIXELS; pixel++) begin : g_pixel
    for (genvar channel = 0; channel < CHANNELS; channel++) begin : g_channel
      localparam logic [STEPS*32-1:0] BOUNDS = THRESHOLDS[channel*STEPS*32+:STEPS*32];
      logic [IN_BITS-1:0] x;
      assign x = s_data[pixel][channel] ^ (IN_BITS'(SIGNED) << (IN_BITS - 1));
      if (TABLE_INPUTS != 0) begin : g_digits
        bf_threshold_digits #(
            .IN_BITS     (IN_BITS),
            .OUT_BITS    (OUT_BITS),
            .OUT_MIN     (OUT_MIN),
            .STEPS       (STEPS),
            .TABLE_INPUTS(TABLE_INPUTS),
            .REGISTERED  (LATENCY - 1),
            .BOUNDS      (BOUNDS),
            .FALLS       (FALLING[channel])
        ) count (
            .clk,
            .x,
            .y(y[pixel][channel])
        );
      end else begin : g_comparisons
        bf_threshold_comparisons #(
            .IN_BITS   (IN_BITS),
            .OUT_BITS  (OUT_BITS),
            .OUT_MIN   (OUT_MIN),
            .STEPS     (STEPS),
            .REGISTERED(LATENCY - 1),
            .BOUNDS    (BOUNDS),
            .FALLS     (FALLING[channel])
        ) count (
            .clk,
            .x,
            .y(y[pixel][channel])
        );
      end
    end
  end

  bf_stream_out #(
      .WIDTH  (PIXELS * CHANNELS * OUT_BITS),
      .CREDITS(LATENCY + 1)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (done),
      .data (y),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
