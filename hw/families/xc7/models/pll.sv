// The clock of an image for 7 series: a global buffer behind the oscillator's pad. To synthesis BUFG is a name for the
// device's own cell.
`default_nettype none

(* blackbox *)
module BUFG (
    input  wire logic I,
    output      logic O
);
  assign O = I;
endmodule

module bf_board_clock (
    input  wire logic I,
    output      logic O,
    output      logic LOCKED
);
  BUFG buffer (
      .I,
      .O
  );
  assign LOCKED = 1'b1;
endmodule
