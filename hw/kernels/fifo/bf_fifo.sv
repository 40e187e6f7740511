// FIFO of DEPTH beats. Initiation interval: 1 beat per cycle.
// BLOCK = 0: lookup-table RAM, latency 1 cycle. BLOCK = 1: block RAM that is read ahead into a buffer of three beats,
// latency 3 cycles (the clock-to-output time of block RAM is long, so a register follows it).
`default_nettype none

module bf_fifo #(
    parameter int WIDTH = 8,   // bits of a beat
    parameter int DEPTH = 16,  // beats
    parameter int BLOCK = 0    // 1: in block RAM
) (
    input  wire logic             clk,
    input  wire logic             rst,
    input  wire logic             s_valid,
    output      logic             s_ready,
    input  wire logic [WIDTH-1:0] s_data,
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [WIDTH-1:0] m_data
);
  logic put;
  assign put = s_valid && s_ready;

  if (BLOCK == 0) begin : g_lut
    bf_stream_out #(
        .WIDTH  (WIDTH),
        .CREDITS(DEPTH)
    ) out (
        .clk,
        .rst,
        .credit(s_ready),
        .start (put),
        .push  (put),
        .data  (s_data),
        .m_valid,
        .m_ready,
        .m_data
    );
  end else begin : g_block
    localparam int ADDRESS = $clog2(DEPTH);
    localparam int COUNT = $clog2(DEPTH + 1);
    // A word is read in a later cycle than it is written in.
    (* ram_style = "block", no_rw_check *) logic [WIDTH-1:0] mem[1 << ADDRESS];
    logic [ADDRESS-1:0] head, tail;
    logic [COUNT-1:0] places, stored, places_next;
    logic [WIDTH-1:0] read;
    logic credit, fetch, fetched, take, some;

    function automatic logic [ADDRESS-1:0] next(input logic [ADDRESS-1:0] pointer);
      next = pointer == ADDRESS'(DEPTH - 1) ? '0 : pointer + ADDRESS'(1);
    endfunction

    assign take  = m_valid && m_ready;
    assign fetch = some && credit;
    always_comb begin
      places_next = places;
      if (put && !take) places_next = places - COUNT'(1);
      else if (take && !put) places_next = places + COUNT'(1);
    end

    always_ff @(posedge clk) begin
      if (put) mem[tail] <= s_data;
      read <= mem[head];
    end
    always_ff @(posedge clk) begin
      fetched <= fetch && !rst;
      if (rst) begin
        head    <= '0;
        tail    <= '0;
        stored  <= '0;
        some    <= 1'b0;
        places  <= COUNT'(DEPTH);
        s_ready <= 1'b1;
      end else begin
        places  <= places_next;
        s_ready <= places_next != '0;
        if (put) tail <= next(tail);
        if (fetch) head <= next(head);
        if (put && !fetch) begin
          stored <= stored + COUNT'(1);
          some   <= 1'b1;
        end else if (fetch && !put) begin
          stored <= stored - COUNT'(1);
          some   <= stored != COUNT'(1);
        end
      end
    end

    bf_stream_out #(
        .WIDTH  (WIDTH),
        .CREDITS(3)
    ) out (
        .clk,
        .rst,
        .credit,
        .start(fetch),
        .push (fetched),
        .data (read),
        .m_valid,
        .m_ready,
        .m_data
    );
  end
endmodule
