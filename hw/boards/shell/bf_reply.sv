// Replies to the host, octet by octet: the status or the state of the benchmark where one was asked for, else a result
// where there is one. A reply begins with its type and its tag.
`default_nettype none

module bf_reply #(
    parameter int                 FIXED   = 1,   // octets of the status that never change
    parameter logic [8*FIXED-1:0] ABOUT   = '0,  // these, the first in the low bits
    parameter int                 COUNTED = 1,   // octets of the status that follow
    parameter int                 STATE   = 0,   // octets of the benchmark's state, at most COUNTED; 0: no benchmark
    parameter int                 CRCS    = 1    // octets that follow these
) (
    input  wire logic                 clk,
    input  wire logic                 rst,
    input  wire logic                 ask_status,
    input  wire logic                 ask_benchmark,
    input  wire logic [         15:0] ask_tag,
    input  wire logic [8*COUNTED-1:0] counters,
    input  wire logic [8*COUNTED-1:0] bench,
    input  wire logic [   8*CRCS-1:0] crc,
    input  wire logic                 some,           // there is a whole result
    input  wire logic [         15:0] tag,            // of the result
    input  wire logic                 s_valid,
    output      logic                 s_ready,
    input  wire logic [          7:0] s_data,
    input  wire logic                 s_last,
    output      logic                 m_valid,
    input  wire logic                 m_ready,
    output      logic [          7:0] m_data,
    output      logic                 m_last
);
  localparam logic [7:0] STATUS = 8'h81, FRAME = 8'h82, BENCHMARK = 8'h84;
  localparam int LONGEST = FIXED + COUNTED > STATE + CRCS ? FIXED + COUNTED : STATE + CRCS;
  localparam int PLACE = $clog2(LONGEST + 1);
  typedef enum logic [1:0] {
    IDLE,
    HEAD,
    BODY
  } state_t;
  state_t state;
  logic asked, asked_benchmark, reply, benchmark;  // reply: no result
  logic [15:0] asked_tag;
  logic [23:0] head;
  logic [1:0] head_left;
  logic [PLACE-1:0] place;
  logic [8*COUNTED-1:0] rest;
  logic [7:0] bench_octet;
  if (STATE != 0) begin : g_benchmark
    assign bench_octet = place < PLACE'(STATE) ? rest[7:0] : crc[8*(place-PLACE'(STATE))+:8];
  end else begin : g_no_benchmark
    assign bench_octet = '0;
  end
  always_comb begin
    m_valid = state == HEAD || (state == BODY && (reply || s_valid));
    m_data  = head[7:0];
    m_last  = 1'b0;
    s_ready = state == BODY && !reply && m_ready;
    if (state == BODY) begin
      if (!reply) begin
        m_data = s_data;
        m_last = s_last;
      end else if (!benchmark) begin
        m_data = place < PLACE'(FIXED) ? ABOUT[8*place+:8] : rest[7:0];
        m_last = place == PLACE'(FIXED + COUNTED - 1);
      end else begin
        m_data = bench_octet;
        m_last = place == PLACE'(STATE + CRCS - 1);
      end
    end
  end
  always_ff @(posedge clk) begin
    if (ask_status || ask_benchmark) begin
      asked           <= 1'b1;
      asked_benchmark <= ask_benchmark;
      asked_tag       <= ask_tag;
    end
    case (state)
      IDLE: begin
        reply     <= asked;
        benchmark <= STATE != 0 && asked_benchmark;
        head      <= asked ? {asked_tag, asked_benchmark ? BENCHMARK : STATUS} : {tag, FRAME};
        head_left <= 2'd2;
        place     <= '0;
        if (asked || some) state <= HEAD;
        if (asked && !ask_status && !ask_benchmark) asked <= 1'b0;
      end
      HEAD: begin
        rest <= benchmark ? bench : counters;
        if (m_ready) begin
          head      <= head >> 8;
          head_left <= head_left - 2'd1;
          if (head_left == '0) state <= BODY;
        end
      end
      default:
      if (m_valid && m_ready) begin
        place <= place + PLACE'(1);
        if (benchmark || place >= PLACE'(FIXED)) rest <= rest >> 8;
        if (m_last) state <= IDLE;
      end
    endcase
    if (rst) begin
      state <= IDLE;
      asked <= 1'b0;
    end
  end
endmodule
