// Properties of bf_replay: `data` is the beat that came in last under the `index` of LATENCY cycles ago, including a beat
// that came in together with that index. With STYLE "hold" it is the beat that came in last.
`default_nettype none

module replay_properties #(
    parameter  int    WIDTH   = 8,
    parameter  int    DEPTH   = 16,
    parameter  logic [127:0] STYLE = "distributed",
    localparam int    INDEX   = DEPTH > 1 ? $clog2(DEPTH) : 1,
    localparam int    LATENCY = STYLE == "hold" ? 1 : STYLE == "block" ? 3 : 2
) (
    input wire logic             clk,
    input wire logic             take,
    input wire logic [INDEX-1:0] index,
    input wire logic [WIDTH-1:0] beat,
    input wire logic [WIDTH-1:0] data
);
  localparam int BEATS = STYLE == "hold" ? 1 : DEPTH;
  logic [BEATS-1:0][WIDTH-1:0] model, model_next;
  logic [BEATS-1:0] known, known_next;
  logic [LATENCY:1][WIDTH-1:0] right;
  logic [LATENCY:1] check;
  int at;
  assign at = STYLE == "hold" ? 0 : int'(index);
  always_comb begin
    assume (at < BEATS);
    model_next = model;
    known_next = known;
    for (int i = 0; i < BEATS; i++)
      if (take && i == at) begin
        model_next[i] = beat;
        known_next[i] = 1'b1;
      end
  end
  initial known = '0;
  initial check = '0;
  always_ff @(posedge clk) begin
    model    <= model_next;
    known    <= known_next;
    right[1] <= model_next[at];
    check[1] <= known_next[at];
    for (int i = 2; i <= LATENCY; i++) begin
      right[i] <= right[i-1];
      check[i] <= check[i-1];
    end
  end
  always_comb if (check[LATENCY]) assert (data == right[LATENCY]);

  // Invariant: the memory is the model's, the registers on the way are right.
  if (STYLE == "hold") begin : g_hold
    always_comb begin
      if (known[0]) assert (data == model[0]);
      if (check[1]) assert (known[0] && right[1] == model[0]);
    end
  end else begin : g_ram
    logic [WIDTH-1:0] addressed;
    if (STYLE == "block") begin : g_block
      always_comb begin
        for (int i = 0; i < BEATS; i++) if (known[i]) assert (bf_replay.g_ram.g_block.mem[i] == model[i]);
        if (check[2]) assert (bf_replay.g_ram.g_block.read == right[2]);
      end
      assign addressed = bf_replay.g_ram.g_block.mem[bf_replay.g_ram.index_q];
    end else begin : g_logic
      always_comb begin
        for (int i = 0; i < BEATS; i++) if (known[i]) assert (bf_replay.g_ram.g_logic.mem[i] == model[i]);
      end
      assign addressed = bf_replay.g_ram.g_logic.mem[bf_replay.g_ram.index_q];
    end
    always_comb if (check[1]) assert (addressed == right[1]);
  end

  (* keep *) logic reached;
  assign reached = &known && check[LATENCY] && right[LATENCY] != model_next[at];
endmodule

bind bf_replay replay_properties #(
    .WIDTH(WIDTH),
    .DEPTH(DEPTH),
    .STYLE(STYLE)
) properties (
    .*
);
