// iCE40 pads and the driver of a global line.
`default_nettype none

module SB_IO_INPUT (
    input  wire logic PACKAGE_PIN,
    output      logic D_IN_0
);
  assign D_IN_0 = PACKAGE_PIN;
endmodule

module SB_IO_OUTPUT (
    output      logic PACKAGE_PIN,
    input  wire logic D_OUT_0
);
  assign PACKAGE_PIN = D_OUT_0;
endmodule

module SB_GB (
    input  wire logic USER_SIGNAL_TO_GLOBAL_BUFFER,
    output      logic GLOBAL_BUFFER_OUTPUT
);
  assign GLOBAL_BUFFER_OUTPUT = USER_SIGNAL_TO_GLOBAL_BUFFER;
endmodule
