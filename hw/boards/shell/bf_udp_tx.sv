// Sends octets as UDP datagrams from PORT at IP, and answers to ARP requests. A datagram ends when it has 2^LOG octets, and
// as soon as it has the flag that ends a message (hw/host/protocol.py) while no other one is being sent, so that messages
// share datagrams where the line is busy. It goes to `peer`, the sender of the last one that was received. `ask` requests an
// answer to `asker`; while one is waiting, others are not answered. UDP's checksum is left out, as messages have their own.
`default_nettype none

module bf_udp_tx #(
    parameter logic [47:0] MAC  = '0,
    parameter logic [31:0] IP   = '0,
    parameter logic [15:0] PORT = '0,
    parameter int          LOG  = 10   // log2 of the octets of the longest datagram
) (
    input  wire logic        clk,
    input  wire logic        rst,
    input  wire logic        s_valid,
    output      logic        s_ready,
    input  wire logic [ 7:0] s_data,
    input  wire logic [95:0] peer,     // MAC, IP and port
    input  wire logic        ask,
    input  wire logic [79:0] asker,    // MAC and IP
    output      logic        m_valid,
    input  wire logic        m_ready,
    output      logic [ 7:0] m_data,
    output      logic        m_last
);
  localparam int HEADERS = 42;
  function automatic logic [16:0] plus(input logic [16:0] sum, input logic [15:0] word);
    plus = 17'(sum[15:0]) + 17'(word) + 17'(sum[16]);  // in ones' complement; the carry is added the next time
  endfunction
  function automatic logic [16:0] constant();  // the sum of those words of IP's header that are always the same
    constant = plus(17'h04500, 16'h4000);
    constant = plus(constant, 16'h4011);
    constant = plus(constant, IP[31:16]);
    constant = plus(constant, IP[15:0]);
    constant = plus(constant, 16'd0);
  endfunction

  // Datagrams are collected in two halves of the memory in turn.
  (* no_rw_check, ram_style = "block" *) logic [7:0] mem[2 << LOG];
  logic half, content, ended, close;  // content: within a message; ended: one ends in this half
  logic [1:0] full;
  logic [LOG:0] count;
  logic [1:0][LOG:0] counts;
  typedef enum logic [2:0] {
    IDLE,
    SUM,
    HEAD,
    BODY,
    LAST  // the last octet is at the output
  } state_t;
  state_t state;
  logic busy, out, answer;  // out: the half that is sent; answer: an ARP reply is being sent instead
  assign busy    = state != IDLE || full != '0;
  assign close   = count[LOG] || (ended && !busy);
  assign s_ready = !full[half] && !close;
  always_ff @(posedge clk) if (s_valid && s_ready) mem[{half, count[LOG-1:0]}] <= s_data;
  always_ff @(posedge clk) begin
    if (s_valid && s_ready) begin
      count  <= count + (LOG + 1)'(1);
      content <= s_data != 8'h7e;
      if (s_data == 8'h7e && content) ended <= 1'b1;
    end
    if (close && !full[half]) begin
      full[half]   <= 1'b1;
      counts[half] <= count;
      half         <= !half;
      count        <= '0;
      ended        <= 1'b0;
    end
    if (state == LAST && m_ready && !answer) full[out] <= 1'b0;
    if (rst) begin
      full   <= '0;
      half   <= 1'b0;
      count  <= '0;
      content <= 1'b0;
      ended  <= 1'b0;
    end
  end

  // The header, of which one octet is ready at a time.
  logic asked;
  logic [79:0] asked_by;
  logic [95:0] to;
  logic [16:0] sum;
  logic [15:0] total, length;
  logic [5:0] place, next;  // of the octet, counted from the end
  logic [LOG-1:0] body, body_next;
  logic [7:0] head, read;
  logic load;
  assign length    = 16'(counts[out]) + 16'd8;
  assign load      = !m_valid || m_ready;
  assign next      = state == SUM ? 6'(HEADERS - 1) : load ? place - 6'd1 : place;
  assign body_next = state != BODY ? '0 : load ? body + LOG'(1) : body;

  localparam logic [63:0] ARP_REPLY = 64'h0001_0800_0604_0002;
  logic [8*HEADERS-1:0] header;
  assign header = answer ?
      {to[95:48], MAC, 16'h0806, ARP_REPLY, MAC, IP, to[95:16]} :
      {to[95:48], MAC, 16'h0800, 16'h4500, total, 16'd0, 16'h4000, 16'h4011, ~sum[15:0], IP, to[47:16],
       PORT, to[15:0], length, 16'd0};

  always_ff @(posedge clk) read <= mem[{out, body_next}];
  always_ff @(posedge clk) begin
    head  <= header[8*next+:8];
    total <= length + 16'd20;
    place <= next;
    body  <= body_next;
    if (ask && !asked) begin
      asked    <= 1'b1;
      asked_by <= asker;
    end
    case (state)
      IDLE: begin
        place  <= '0;
        sum    <= constant();
        answer <= asked;
        to     <= asked ? {asked_by, 16'd0} : peer;
        if (asked || full != '0) begin
          asked <= 1'b0;
          state <= SUM;
        end
        // The older datagram first: where both halves are full, the one that is written next.
        if (full != '0) out <= full == 2'b11 ? half : full[1];
      end
      SUM: begin
        place <= place + 6'd1;
        case (place)
          6'd2: sum <= plus(sum, total);
          6'd3: sum <= plus(sum, to[47:32]);
          6'd4: sum <= plus(sum, to[31:16]);
          6'd5, 6'd6: sum <= plus(sum, '0);
          default: ;
        endcase
        if (place == 6'd7) begin
          place <= next;
          state <= HEAD;
        end
      end
      HEAD:
      if (load) begin
        m_valid <= 1'b1;
        m_data  <= head;
        m_last  <= answer && place == '0;
        if (place == '0) state <= answer ? LAST : BODY;
      end
      BODY:
      if (load) begin
        m_data <= read;
        m_last <= body == LOG'(counts[out] - (LOG + 1)'(1));
        if (body == LOG'(counts[out] - (LOG + 1)'(1))) state <= LAST;
      end
      default:
      if (m_ready) begin
        m_valid <= 1'b0;
        state   <= IDLE;
      end
    endcase
    if (rst) begin
      asked   <= 1'b0;
      m_valid <= 1'b0;
      state   <= IDLE;
    end
  end
endmodule
