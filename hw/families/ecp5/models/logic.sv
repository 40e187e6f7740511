// ECP5 logic: lookup tables, their expansion multiplexers and carry chains, before and after packing. The contents of a
// table are an input, not a parameter: as a parameter every one would make a module of its own, which takes long.
`default_nettype none

// Four-input lookup table.
module LUT4 (
    input  wire logic [15:0] INIT,
    input  wire logic        A,
    input  wire logic        B,
    input  wire logic        C,
    input  wire logic        D,
    output      logic        Z
);
  assign Z = INIT[{D, C, B, A}];
endmodule

// Joins two lookup tables of a slice into one of five inputs.
module PFUMX (
    input  wire logic ALUT,
    input  wire logic BLUT,
    input  wire logic C0,
    output      logic Z
);
  assign Z = C0 ? ALUT : BLUT;
endmodule

// Joins two five- or six-input functions.
module L6MUX21 (
    input  wire logic D0,
    input  wire logic D1,
    input  wire logic SD,
    output      logic Z
);
  assign Z = SD ? D1 : D0;
endmodule

// Half of a slice in carry mode: the table's output selects between propagating the carry and generating
// it from the table's two-input part; INJECT cuts the carry off.
module ecp5_carry #(
    parameter logic INJECT = 1'b0
) (
    input  wire logic [15:0] INIT,
    input  wire logic        A,
    input  wire logic        B,
    input  wire logic        C,
    input  wire logic        D,
    input  wire logic        CI,
    output      logic        S,
    output      logic        CO
);
  logic propagate, generated;
  assign propagate = INIT[{D, C, B, A}];
  assign generated = INIT[{2'b00, B, A}] && !INJECT;
  assign S  = propagate ^ (CI && !INJECT);
  assign CO = propagate ? CI : generated;
endmodule

// A slice in carry mode.
module CCU2C #(
    parameter INJECT1_0 = "YES",
    parameter INJECT1_1 = "YES"
) (
    input  wire logic [15:0] INIT0,
    input  wire logic [15:0] INIT1,
    input  wire logic        CIN,
    input  wire logic [ 1:0] A,
    input  wire logic [ 1:0] B,
    input  wire logic [ 1:0] C,
    input  wire logic [ 1:0] D,
    output      logic [ 1:0] S,
    output      logic        COUT
);
  logic middle;
  ecp5_carry #(
      .INJECT(INJECT1_0 == "YES")
  ) half0 (
      .INIT(INIT0),
      .A (A[0]),
      .B (B[0]),
      .C (C[0]),
      .D (D[0]),
      .CI(CIN),
      .S (S[0]),
      .CO(middle)
  );
  ecp5_carry #(
      .INJECT(INJECT1_1 == "YES")
  ) half1 (
      .INIT(INIT1),
      .A (A[1]),
      .B (B[1]),
      .C (C[1]),
      .D (D[1]),
      .CI(middle),
      .S (S[1]),
      .CO(COUT)
  );
endmodule

// One lookup table of a placed slice, with the multiplexer beside it. MODE: LOGIC, CCU2 (carry), DPRAM (16x1 RAM) or
// RAMW_BLOCK (taken up by a RAM's write port). The RAM is addressed through the table's inputs, in the order in which
// nextpnr routes them: A, C, B, D are address bits 3, 2, 1, 0. WIDE: the multiplexer joins FXA and FXB, not F and F1.
module TRELLIS_COMB #(
    parameter              MODE         = "LOGIC",
    parameter              CCU2_INJECT1 = "NO",
    parameter logic        WIDE         = 1'b0,
    parameter logic [15:0] RAM          = '0     // contents of a RAM
) (
    input  wire logic [15:0] INITVAL,
    input  wire logic        A,
    input  wire logic        B,
    input  wire logic        C,
    input  wire logic        D,
    input  wire logic        M,
    input  wire logic        F1,
    input  wire logic        FXA,
    input  wire logic        FXB,
    input  wire logic        FCI,
    input  wire logic        WD,
    input  wire logic [ 3:0] WAD,
    input  wire logic        WRE,
    input  wire logic        WCK,
    input  wire logic [ 1:0] DI,
    output      logic        F,
    output      logic        FCO,
    output      logic        OFX
);
  if (MODE == "CCU2") begin : g_carry
    ecp5_carry #(
        .INJECT(CCU2_INJECT1 == "YES")
    ) half (
        .INIT(INITVAL),
        .A,
        .B,
        .C,
        .D,
        .CI(FCI),
        .S (F),
        .CO(FCO)
    );
  end else if (MODE == "DPRAM") begin : g_ram
    logic [15:0] mem;
    initial mem = RAM;
    always @(posedge WCK) if (WRE) mem[{WAD[0], WAD[2], WAD[1], WAD[3]}] <= WD;
    assign F   = mem[{D, C, B, A}];
    assign FCO = 1'b0;
  end else if (MODE == "LOGIC" || MODE == "RAMW_BLOCK") begin : g_logic
    assign F   = INITVAL[{D, C, B, A}];
    assign FCO = 1'b0;
  end else begin : g_unknown
    $error("no model of TRELLIS_COMB in mode %s", MODE);
  end
  if (WIDE) begin : g_wide
    assign OFX = M ? FXB : FXA;
  end else begin : g_pair
    assign OFX = M ? F1 : F;
  end
endmodule
