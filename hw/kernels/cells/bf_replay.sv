// Input buffer: stores the DEPTH beats of a vector as they arrive, so that they can be read several times. `take`
// stores `beat` at `index`; `data` is the beat at the `index` of LATENCY cycles ago. Initiation interval: 1 cycle.
// STYLE "hold": one register, for vectors of one beat or beats that are read once; latency 1 cycle.
// STYLE "distributed", "logic": lookup-table RAM or registers; latency 2 cycles. STYLE "block": block RAM; 3 cycles.
`default_nettype none

module bf_replay #(
    parameter  int           WIDTH = 8,   // bits of a beat
    parameter  int           DEPTH = 16,  // beats
    parameter  logic [127:0] STYLE = "distributed",
    localparam int           INDEX = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input  wire logic             clk,
    input  wire logic             take,
    input  wire logic [INDEX-1:0] index,
    input  wire logic [WIDTH-1:0] beat,
    output      logic [WIDTH-1:0] data
);
  if (STYLE == "hold") begin : g_hold
    always_ff @(posedge clk) if (take) data <= beat;
  end else begin : g_ram
    // Read one cycle after writing, so a beat that is just coming in is found like any other.
    logic [INDEX-1:0] index_q;
    always_ff @(posedge clk) index_q <= index;
    if (STYLE == "block") begin : g_block
      (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] mem[DEPTH];
      logic [WIDTH-1:0] read;
      always_ff @(posedge clk) begin
        if (take) mem[index] <= beat;
        read <= mem[index_q];
        data <= read;
      end
    end else begin : g_logic
`ifndef __ICARUS__
      (* ram_style = string'(STYLE) *)
`endif
      logic [WIDTH-1:0] mem[DEPTH];
      always_ff @(posedge clk) begin
        if (take) mem[index] <= beat;
        data <= mem[index_q];
      end
    end
  end
endmodule
