// FIFO of octets from one clock to another, with pointers in Gray code (C. Cummings, "Simulation and Synthesis Techniques
// for Asynchronous FIFO Design", SNUG 2002). A pointer changes in one bit at a time, so that the other side, behind a
// synchroniser of two flip-flops, sees it as it was or as it is. Resets are asynchronous, and both sides must have theirs
// at the same time; one that is not released leaves the FIFO empty for the other. Latency: 2 to 3 cycles of the side that
// reads. A side that has no clock holds up nothing that has been written, and nothing that has been read.
`default_nettype none

module bf_crossing #(
    parameter int LOG = 2  // log2 of the octets that it holds, at least 2
) (
    input  wire logic         w_clk,
    input  wire logic         w_rst,
    input  wire logic         w_valid,
    output      logic         w_ready,
    output      logic [LOG:0] w_room,   // octets that there is room for, at least
    input  wire logic [  7:0] w_data,
    input  wire logic         r_clk,
    input  wire logic         r_rst,
    output      logic         r_valid,
    input  wire logic         r_ready,
    output      logic [  7:0] r_data
);
  // Octets that have passed, modulo twice the size; in Gray code; and as the other side sees them, first late, then settled.
  logic [7:0] mem[1 << LOG];
  logic [LOG:0] w_count, w_gray, w_late, w_seen, r_count, r_gray, r_late, r_seen;
  function automatic logic [LOG:0] gray(input logic [LOG:0] count);
    return count ^ (count >> 1);
  endfunction
  function automatic logic [LOG:0] binary(input logic [LOG:0] code);
    binary = code;
    for (int i = 1; i <= LOG; i++) binary ^= code >> i;
  endfunction

  logic put, take;
  assign w_room  = (LOG + 1)'(1 << LOG) - (w_count - binary(r_seen));
  assign w_ready = w_room != '0;
  assign r_valid = w_seen != r_gray;
  assign r_data  = mem[r_count[LOG-1:0]];
  assign put     = w_valid && w_ready;
  assign take    = r_valid && r_ready;
  always_ff @(posedge w_clk) if (put) mem[w_count[LOG-1:0]] <= w_data;
  always_ff @(posedge w_clk, posedge w_rst) begin
    if (w_rst) begin
      w_count <= '0;
      w_gray  <= '0;
      r_late  <= '0;
      r_seen  <= '0;
    end else begin
      if (put) begin
        w_count <= w_count + (LOG + 1)'(1);
        w_gray  <= gray(w_count + (LOG + 1)'(1));
      end
      r_late <= r_gray;
      r_seen <= r_late;
    end
  end
  always_ff @(posedge r_clk, posedge r_rst) begin
    if (r_rst) begin
      r_count <= '0;
      r_gray  <= '0;
      w_late  <= '0;
      w_seen  <= '0;
    end else begin
      if (take) begin
        r_count <= r_count + (LOG + 1)'(1);
        r_gray  <= gray(r_count + (LOG + 1)'(1));
      end
      w_late <= w_gray;
      w_seen <= w_late;
    end
  end
endmodule
