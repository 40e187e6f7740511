// Proof of the cell that joins streams, with its owner's registers for the beats that wait: every firing has one beat of
// each input, in order, none lost or doubled, and comes in the first cycle in which all are here and there is a credit.
`default_nettype none

module stream_join_proof #(
    parameter int INPUTS = 2,
    parameter int WIDTH  = 2   // bits of a beat of each input
) (
    input wire logic                         clk,
    input wire logic                         rst,
    input wire logic [INPUTS-1:0]            s_valid,
    input wire logic [INPUTS-1:0][WIDTH-1:0] s_data,
    input wire logic                         credit
);
  logic [INPUTS-1:0] s_ready, waits;
  logic [INPUTS-1:0][WIDTH-1:0] beats;  // of the firing, in the cycle after it
  logic fire, fired;
  bf_stream_join #(
      .INPUTS(INPUTS)
  ) dut (
      .clk,
      .rst,
      .s_valid,
      .s_ready,
      .credit,
      .fire
  );
  always_ff @(posedge clk) fired <= fire && !rst;
  for (genvar i = 0; i < INPUTS; i++) begin : g_input
    logic count;
    logic oldest;
    logic [WIDTH-1:0] oldest_data;
    always_ff @(posedge clk) if (s_ready[i]) beats[i] <= s_data[i];
    scoreboard #(
        .WIDTH(WIDTH),
        .DEPTH(1)
    ) taken (
        .clk,
        .rst,
        .put      (s_valid[i] && s_ready[i]),
        .put_data (s_data[i]),
        .take     (fired),
        .take_data(beats[i]),
        .count,
        .pieces   (oldest_data)
    );
    assign waits[i] = count && !fired;
    always_comb begin
      assert (s_ready[i] == !waits[i]);
      if (count) assert (beats[i] == oldest_data);
    end
  end
  always_comb assert (fire == (credit && &(s_valid | waits)));

  // To be reached: a second firing, whose last input's beat waited for the others, after one for which the first waited.
  logic [1:0] firings;
  (* keep *) logic reached;
  always_ff @(posedge clk) begin
    if (rst) firings <= 0;
    else if (fire && firings == 0 && waits == INPUTS'(1)) firings <= 1;
    else if (fire && firings == 1 && waits[INPUTS-1] && !waits[0]) firings <= 2;
  end
  assign reached = firings == 2;
endmodule
