// Where beats of several streams meet: an action takes one of each, in the first cycle in which all are here and there
// is a credit. A beat that comes before the others is taken into its input's place and waits there, so that `ready`
// is a register and asks for no other stream's `valid`.
// The owner registers what it makes of an input's beat in each cycle in which that input is `s_ready`: that register is
// the place, and in the cycle after `fire` all of them have the beats of the action.
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
