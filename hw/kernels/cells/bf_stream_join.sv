// Joins several streams: `fire` is high when a beat of every input is present and there is a credit. A beat that
// arrives before the others is accepted and waits, so that `s_ready` is a register and depends on no other stream's
// `s_valid`. The parent registers each input's beat in every cycle in which that input is `s_ready`; in the cycle after
// `fire` these registers hold the beats of the firing. Initiation interval: 1 firing per cycle. Latency from `s_valid`
// to `fire`: 0.
`default_nettype none

module bf_stream_join #(
    parameter int INPUTS = 2
) (
    input  wire logic              clk,
    input  wire logic              rst,
    input  wire logic [INPUTS-1:0] s_valid,
    output      logic [INPUTS-1:0] s_ready,
    input  wire logic              credit,
    output      logic              fire
);
  logic [INPUTS-1:0] here;
  assign here = s_valid | ~s_ready;
  assign fire = &here && credit;
  always_ff @(posedge clk) s_ready <= rst || fire ? '1 : ~here;
endmodule
