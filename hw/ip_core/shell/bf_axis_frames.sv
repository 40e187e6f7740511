// The frames of an AXI4-Stream port: `last` is the last of BEATS beats. The beats are counted here, so a wrong TLAST is
// reported and changes nothing. Latency from `moved` to the three pulses: 1 cycle.
`default_nettype none

module bf_axis_frames #(
    parameter int BEATS = 8  // beats of a frame
) (
    input  wire logic clk,
    input  wire logic rst,
    input  wire logic moved,       // a beat is transferred
    input  wire logic given_last,  // its TLAST
    input  wire logic whole,       // all of its TKEEP
    output      logic last,
    output      logic frame,       // pulse: a frame is complete
    output      logic wrong_last,  // pulse: TLAST was early, or missing
    output      logic wrong_keep   // pulse: a beat was not whole
);
  localparam int COUNT = BEATS > 1 ? $clog2(BEATS) : 1;
  logic [COUNT-1:0] beat;
  assign last = beat == COUNT'(BEATS - 1);
  always_ff @(posedge clk) begin
    if (rst) beat <= '0;
    else if (moved) beat <= last ? '0 : beat + COUNT'(1);
    frame      <= !rst && moved && last;
    wrong_last <= !rst && moved && given_last != last;
    wrong_keep <= !rst && moved && !whole;
  end
endmodule
