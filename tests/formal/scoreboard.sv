// Specification of every buffer: the pieces that came in and have not left, oldest first. Asserts that what leaves is what
// came in, in order, once each, and that the buffer never holds more than DEPTH pieces.
`default_nettype none

module scoreboard #(
    parameter  int WIDTH = 8,                  // bits of a piece
    parameter  int DEPTH = 4,                  // pieces
    parameter  int PUT   = 1,                  // pieces that come in at once
    parameter  int TAKE  = 1,                  // pieces that leave at once
    localparam int COUNT = $clog2(DEPTH + 1)
) (
    input  wire logic                        clk,
    input  wire logic                        rst,
    input  wire logic                        put,
    input  wire logic [  PUT-1:0][WIDTH-1:0] put_data,
    input  wire logic                        take,
    input  wire logic [ TAKE-1:0][WIDTH-1:0] take_data,
    output      logic [COUNT-1:0]            count,      // pieces held
    output      logic [DEPTH-1:0][WIDTH-1:0] pieces      // the first `count` of them are held
);
  logic [DEPTH-1:0][WIDTH-1:0] pieces_next;
  int kept, total;
  assign kept  = take ? int'(count) - TAKE : int'(count);
  assign total = put ? kept + PUT : kept;
  always_comb begin
    for (int i = 0; i < DEPTH; i++) begin
      pieces_next[i] = !take ? pieces[i] : i + TAKE < DEPTH ? pieces[(i+TAKE)%DEPTH] : '0;
      for (int j = 0; j < PUT; j++) if (put && i == kept + j) pieces_next[i] = put_data[j];
    end
  end
  always_ff @(posedge clk) begin
    count  <= rst ? '0 : COUNT'(total);
    pieces <= pieces_next;
  end
  always_comb begin
    assert (int'(count) <= DEPTH);
    if (!rst) assert (total <= DEPTH);
    if (take) begin
      assert (int'(count) >= TAKE);
      for (int j = 0; j < TAKE; j++) assert (take_data[j] == pieces[j]);
    end
  end
endmodule
