// Output buffer of every kernel: a FIFO with one credit per entry. The kernel may start a beat whenever `credit` is
// high (`start`), and delivers it with `push` a fixed number of cycles later; it never stalls in between.
// Initiation interval: 1 beat per cycle. Latency from `push` to m_valid: 1 cycle. A credit returns in the cycle after
// the beat was taken.
`default_nettype none

module bf_stream_out #(
    parameter int WIDTH   = 8,  // bits of a beat
    parameter int CREDITS = 2   // beats started and not yet taken
) (
    input  wire logic             clk,
    input  wire logic             rst,
    output      logic             credit,  // a beat may be started in this cycle
    input  wire logic             start,   // a beat is started in this cycle
    input  wire logic             push,    // the beat is here
    input  wire logic [WIDTH-1:0] data,
    output      logic             m_valid,
    input  wire logic             m_ready,
    output      logic [WIDTH-1:0] m_data
);
  localparam int COUNT = $clog2(CREDITS + 1);

  logic take;
  assign take = m_valid && m_ready;

  // Credits left; `credit` is kept as a flip-flop of its own so that ready paths start at a register.
  logic [COUNT-1:0] left, left_next;
  always_comb begin
    left_next = left;
    if (start && !take) left_next = left - COUNT'(1);
    else if (take && !start) left_next = left + COUNT'(1);
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      left   <= COUNT'(CREDITS);
      credit <= 1'b1;
    end else begin
      left   <= left_next;
      credit <= left_next != '0;
    end
  end

  if (CREDITS == 1) begin : g_single
    always_ff @(posedge clk) begin
      if (rst) m_valid <= 1'b0;
      else if (push) m_valid <= 1'b1;
      else if (take) m_valid <= 1'b0;
      if (push) m_data <= data;
    end
  end else begin : g_buffer
    localparam int ADDRESS = $clog2(CREDITS);
    // Read in the same cycle, so never block RAM; a few places may as well be flip-flops. (A family without
    // lookup-table RAM takes what Yosys finds best.)
    localparam logic [127:0] STYLE = CREDITS > 16 ? "distributed" : "auto";
`ifndef __ICARUS__
    (* ram_style = string'(STYLE) *)
`endif
    logic [WIDTH-1:0] mem[1 << ADDRESS];
    logic [ADDRESS-1:0] head, tail;
    logic [COUNT-1:0] held;

    function automatic logic [ADDRESS-1:0] next(input logic [ADDRESS-1:0] pointer);
      next = pointer == ADDRESS'(CREDITS - 1) ? '0 : pointer + ADDRESS'(1);
    endfunction

    always_ff @(posedge clk) begin
      if (push) mem[tail] <= data;
      if (rst) begin
        head    <= '0;
        tail    <= '0;
        held    <= '0;
        m_valid <= 1'b0;
      end else begin
        if (push) tail <= next(tail);
        if (take) head <= next(head);
        if (push && !take) begin
          held    <= held + COUNT'(1);
          m_valid <= 1'b1;
        end else if (take && !push) begin
          held    <= held - COUNT'(1);
          m_valid <= held != COUNT'(1);
        end
      end
    end
    assign m_data = mem[head];
  end
endmodule
