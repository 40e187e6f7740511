// Input buffer: keeps the DEPTH beats of a vector while they come in, so that they can be read again.
// `data` is beat `index` of the vector, LATENCY cycles after `index`; a beat comes in with `take`, under its index.
// STYLE "hold": one register, for vectors of one beat or beats that are not read again (LATENCY 1);
// "distributed", "logic": lookup-table RAM, or registers (LATENCY 2); "block": block RAM (LATENCY 3).
`default_nettype none

module bf_replay #(
    parameter  int    WIDTH = 8,                              // bits of a beat
    parameter  int    DEPTH = 16,                             // beats
    parameter  string STYLE = "distributed",
    localparam int    INDEX = DEPTH > 1 ? $clog2(DEPTH) : 1
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
      (* ram_style = STYLE *) logic [WIDTH-1:0] mem[DEPTH];
      always_ff @(posedge clk) begin
        if (take) mem[index] <= beat;
        data <= mem[index_q];
      end
    end
  end
endmodule
