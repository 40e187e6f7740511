// Properties of bf_stream_out, bound into each of its instances. The owner's side of the contract (no start without a
// credit, no push without a start) is assumed where bf_stream_out is the top of the proof (STREAM_OUT_ALONE), and asserted
// where it is inside a kernel.
`default_nettype none

module stream_out_properties #(
    parameter int WIDTH   = 8,
    parameter int CREDITS = 2
) (
    input wire logic             clk,
    input wire logic             rst,
    input wire logic             credit,
    input wire logic             start,
    input wire logic             push,
    input wire logic [WIDTH-1:0] data,
    input wire logic             m_valid,
    input wire logic             m_ready,
    input wire logic [WIDTH-1:0] m_data
);
  localparam int COUNT = $clog2(CREDITS + 1);
  logic [COUNT-1:0] started;  // beats started and not pushed
  always_ff @(posedge clk) started <= rst ? '0 : started + COUNT'(start) - COUNT'(push);
  logic owner;
  assign owner = (!start || credit) && (!push || start || started != 0);
  always_comb begin
`ifdef STREAM_OUT_ALONE
    assume (owner);
`else
    assert (rst || owner);
`endif
  end

  logic [COUNT-1:0] count;
  logic [CREDITS-1:0][WIDTH-1:0] beats;
  scoreboard #(
      .WIDTH(WIDTH),
      .DEPTH(CREDITS)
  ) buffered (
      .clk,
      .rst,
      .put      (push),
      .put_data (data),
      .take     (m_valid && m_ready),
      .take_data(m_data),
      .count,
      .pieces   (beats)
  );
  stream_rule #(
      .WIDTH(WIDTH)
  ) rule (
      .clk,
      .rst,
      .valid(m_valid),
      .ready(m_ready),
      .data (m_data)
  );

  always_comb begin
    // Each place is a credit, a beat on its way, or a beat here; so no counter over- or underflows.
    assert (int'(bf_stream_out.left) + int'(started) + int'(count) == CREDITS);
    assert (credit == (int'(started) + int'(count) < CREDITS));
    // Every beat that is here is offered, so each comes out.
    assert (m_valid == (count != 0));
    if (push && !rst) assert (int'(count) < CREDITS);
  end
  if (CREDITS == 1) begin : g_single
    always_comb if (m_valid) assert (m_data == beats[0]);
  end else begin : g_buffer
    // Invariant: where the beats are in the ring.
    function automatic int place(input int beat);
      place = int'(bf_stream_out.g_buffer.head) + beat;
      if (place >= CREDITS) place -= CREDITS;
    endfunction
    always_comb begin
      assert (int'(bf_stream_out.g_buffer.head) < CREDITS);
      assert (int'(bf_stream_out.g_buffer.tail) == place(int'(count)));
      assert (bf_stream_out.g_buffer.held == count);
      for (int i = 0; i < CREDITS; i++)
        if (i < int'(count)) assert (bf_stream_out.g_buffer.mem[place(i)] == beats[i]);
    end
  end

  // To be reached: a full buffer after another beat has left.
  logic left_once;
  (* keep *) logic reached;
  always_ff @(posedge clk) left_once <= !rst && (left_once || (m_valid && m_ready));
  assign reached = left_once && int'(count) == CREDITS;
endmodule

bind bf_stream_out stream_out_properties #(
    .WIDTH  (WIDTH),
    .CREDITS(CREDITS)
) properties (
    .*
);
