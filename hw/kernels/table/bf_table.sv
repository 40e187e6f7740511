// Table: y = VALUES[x], in each channel of its own, or one for all channels.
// Initiation interval: 1 beat of PE channels per cycle. Latency: 1 + LOOKUP_LATENCY cycles.
`default_nettype none

module bf_table #(
    parameter int           IN_BITS        = 8,         // bits of an input element
    parameter int           OUT_BITS       = 8,         // bits of an output element
    parameter int           PE             = 1,         // channels a beat
    parameter int           GROUPS         = 1,         // C / PE, or 1 where all channels are the same
    parameter int           LANES          = 1,         // PE, or 1 where all channels are the same
    parameter int           LOOKUP_LATENCY = 2,         // cycles: 1 or 2 for bf_lookup, 3 for bf_weight_memory
    parameter logic [127:0] STYLE          = "logic",   // see bf_lookup
    // lane i's memory is in the FILES from VALUES<i * FILES>.hex on, words by {group, x}
    parameter               VALUES         = "values",
    parameter int           FILES          = 1,
    parameter int           ROW            = 1,         // this and what follows: see bf_weight_memory
    parameter int           BITS           = 1,
    parameter int           LAST_BITS      = 1,
    parameter int           PARITY         = 0          // 1: a parity bit above the values
) (
    input  wire logic                         clk,
    input  wire logic                         rst,
    input  wire logic                         s_valid,
    output      logic                         s_ready,
    input  wire logic [PE-1:0][ IN_BITS-1:0]  s_data,
    output      logic                         m_valid,
    input  wire logic                         m_ready,
    output      logic [PE-1:0][OUT_BITS-1:0]  m_data,
    // high for one cycle for each word used with a parity error; 0 when PARITY = 0
    output      logic                         parity_error
);
  localparam int GROUP = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int DEPTH = GROUPS << IN_BITS;
  localparam int ADDR = $clog2(DEPTH);

`ifndef __ICARUS__
  if (LANES != 1 && LANES != PE) begin : g_bad_lanes
    $error("bf_table: LANES must be 1 or PE");
  end
`endif

  // Control: when a beat is where, and to which group of channels it belongs.
  logic credit, fire;
  logic [LOOKUP_LATENCY:0] valid;  // bit i: a beat that fired i cycles ago
  logic [LOOKUP_LATENCY:1] valid_q;
  assign s_ready = credit;
  assign fire    = s_valid && credit;
  assign valid   = {valid_q, fire};
  always_ff @(posedge clk) valid_q <= rst ? '0 : valid[LOOKUP_LATENCY-1:0];
  logic [GROUP-1:0] group;
  if (GROUPS > 1) begin : g_group
    always_ff @(posedge clk) begin
      if (rst) group <= '0;
      else if (fire) group <= group == GROUP'(GROUPS - 1) ? '0 : group + GROUP'(1);
    end
  end else begin : g_alone
    assign group = '0;
  end

  logic [PE-1:0][OUT_BITS+PARITY-1:0] word;
  logic [PE-1:0][OUT_BITS-1:0] y;
  logic [PE-1:0] parity_errors;
  assign parity_error = parity_errors != '0;
  for (genvar i = 0; i < PE; i++) begin : g_lane
    localparam int FILE = (LANES > 1 ? i : 0) * FILES;
    logic [ADDR-1:0] addr;
    if (GROUPS == 1) begin : g_shared
      assign addr = s_data[i];
    end else begin : g_by_group
      assign addr = {group, s_data[i]};
    end
    if (LOOKUP_LATENCY == 3) begin : g_deep
      bf_weight_memory #(
          .WIDTH    (OUT_BITS + PARITY),
          .DEPTH    (DEPTH),
          .LATENCY  (LOOKUP_LATENCY),
          .STEM     (VALUES),
          .FIRST    (FILE),
          .STYLE    (STYLE),
          .ROW      (ROW),
          .BITS     (BITS),
          .LAST_BITS(LAST_BITS)
      ) memory (
          .clk,
          .addr,
          .data(word[i])
      );
    end else begin : g_lookup
      bf_lookup #(
          .WIDTH  (OUT_BITS + PARITY),
          .DEPTH  (DEPTH),
          .LATENCY(LOOKUP_LATENCY),
          .FILE   (VALUES),
          .INDEX  (FILE),
          .STYLE  (STYLE)
      ) memory (
          .clk,
          .addr,
          .data(word[i])
      );
    end
    if (PARITY != 0) begin : g_parity
      bf_parity #(
          .WIDTH(OUT_BITS + 1)
      ) check (
          .clk,
          .rst,
          .used(valid[LOOKUP_LATENCY]),
          .word(word[i]),
          .parity_error(parity_errors[i])
      );
    end else begin : g_no_parity
      assign parity_errors[i] = 1'b0;
    end
    assign y[i] = word[i][OUT_BITS-1:0];
  end

  bf_stream_out #(
      .WIDTH  (PE * OUT_BITS),
      .CREDITS(LOOKUP_LATENCY + 2)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (valid[LOOKUP_LATENCY]),
      .data (y),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
