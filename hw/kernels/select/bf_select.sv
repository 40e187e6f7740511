// Selection: passes on some of the beats of a frame, and of these the elements in the KEPT lanes. A frame is a nest of
// AXES, innermost first; a beat is passed on if its index along every axis is. Initiation interval: 1 input beat per
// cycle. Latency: 1 cycle.
`default_nettype none

module bf_select #(
    parameter int                  BITS    = 8,      // bits of an element
    parameter int                  LANES   = 2,      // elements of an input beat
    parameter int                  KEPT    = 2,      // elements of an output beat; the lanes that they come from:
    parameter logic [32*KEPT-1:0]  LANE    = '0,
    parameter int                  AXES    = 1,
    parameter logic [32*AXES-1:0]  SIZES   = 32'd4,  // indices of each axis
    parameter int                  WORDS   = 1,
    parameter logic [32*WORDS-1:0] PASSED  = 32'd3,  // a bit for each index; every axis begins with a new word
    parameter int                  CREDITS = 2       // entries of the output buffer
) (
    input  wire logic                  clk,
    input  wire logic                  rst,
    input  wire logic                  s_valid,
    output      logic                  s_ready,
    input  wire logic [LANES*BITS-1:0] s_data,
    output      logic                  m_valid,
    input  wire logic                  m_ready,
    output      logic [ KEPT*BITS-1:0] m_data
);
  function automatic int first(input int axis);
    first = 0;
    for (int i = 0; i < axis; i++) first += 32 * ((int'(SIZES[32*i+:32]) + 31) / 32);
  endfunction

  // An axis turns when those inside it are through.
  logic credit, take, give;
  logic [AXES-1:0] last, through, passed;
  assign through[0] = 1'b1;
  for (genvar i = 0; i < AXES; i++) begin : g_axis
    localparam int SIZE = int'(SIZES[32*i+:32]);
    localparam logic [SIZE-1:0] PASS = PASSED[first(i)+:SIZE];
    if (i > 0) begin : g_inner
      assign through[i] = through[i-1] && last[i-1];
    end
    if (SIZE == 1) begin : g_once
      assign last[i]   = 1'b1;
      assign passed[i] = PASS;
    end else begin : g_count
      localparam int INDEX = $clog2(SIZE);
      logic [INDEX-1:0] at, next;
      assign next = last[i] ? '0 : at + INDEX'(1);
      always_ff @(posedge clk) begin
        if (rst) begin
          at        <= '0;
          last[i]   <= 1'b0;
          passed[i] <= PASS[0];
        end else if (take && through[i]) begin
          at        <= next;
          last[i]   <= next == INDEX'(SIZE - 1);
          passed[i] <= PASS[next];
        end
      end
    end
  end

  assign s_ready = credit || !(&passed);
  assign take    = s_valid && s_ready;
  assign give    = take && &passed;

  logic [KEPT-1:0][BITS-1:0] kept;
  for (genvar i = 0; i < KEPT; i++) begin : g_lane
    assign kept[i] = s_data[int'(LANE[32*i+:32])*BITS+:BITS];
  end
  bf_stream_out #(
      .WIDTH  (KEPT * BITS),
      .CREDITS(CREDITS)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(give),
      .push (give),
      .data (kept),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
