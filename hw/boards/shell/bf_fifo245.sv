// Master of an FT232H (or FT2232H) in asynchronous 245 FIFO mode. RXF# and TXE# pass synchronisers. HOLD cycles are those
// of RD# and WR# low, at least 40 ns; REST those after which RXF# and TXE# are looked at again, at least 30 ns and the
// three cycles of the synchroniser. Reading and writing take turns where both can go on. The bus is driven while an octet
// is written. Initiation interval: HOLD + REST + 1 cycles for an octet received, and two more for one that is sent.
`default_nettype none

module bf_fifo245 #(
    parameter int HOLD = 4,
    parameter int REST = 6
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       rxf_n,     // the chip has an octet
    input  wire logic       txe_n,     // the chip takes an octet
    output      logic       rd_n,
    output      logic       wr_n,
    output      logic       drive,
    output      logic [7:0] d_out,
    input  wire logic [7:0] d_in,
    output      logic       rx_valid,
    input  wire logic       rx_ready,
    output      logic [7:0] rx_data,
    input  wire logic       tx_valid,
    output      logic       tx_ready,
    input  wire logic [7:0] tx_data
);
  localparam int MOST = HOLD > REST ? HOLD : REST;
  localparam int COUNT = $clog2(MOST + 1);
  typedef enum logic [2:0] {
    IDLE,
    READ,
    SETUP,
    WRITE,
    KEEP,
    PAUSE
  } state_t;
  state_t state;
  logic [COUNT-1:0] left;
  logic [1:0] can_read_n, can_write_n;
  logic wrote;  // the last octet was sent
  logic read, write;
  assign read     = !can_read_n[1] && rx_ready && !rx_valid;
  assign write    = !can_write_n[1] && tx_valid;
  assign tx_ready = state == IDLE && write && !(read && wrote);
  always_ff @(posedge clk) begin
    can_read_n  <= {can_read_n[0], rxf_n};
    can_write_n <= {can_write_n[0], txe_n};
    if (rx_ready) rx_valid <= 1'b0;
    if (left != '0) left <= left - COUNT'(1);
    case (state)
      IDLE: begin
        left <= COUNT'(HOLD - 1);
        if (tx_ready) begin
          d_out <= tx_data;
          drive <= 1'b1;
          wrote <= 1'b1;
          state <= SETUP;
        end else if (read) begin
          rd_n  <= 1'b0;
          wrote <= 1'b0;
          state <= READ;
        end
      end
      READ:
      if (left == '0) begin
        rd_n     <= 1'b1;
        rx_data  <= d_in;
        rx_valid <= 1'b1;
        left     <= COUNT'(REST - 1);
        state    <= PAUSE;
      end
      SETUP: begin
        wr_n  <= 1'b0;
        left  <= COUNT'(HOLD - 1);
        state <= WRITE;
      end
      WRITE:
      if (left == '0) begin
        wr_n  <= 1'b1;
        state <= KEEP;
      end
      KEEP: begin
        drive <= 1'b0;
        left  <= COUNT'(REST - 1);
        state <= PAUSE;
      end
      default: if (left == '0) state <= IDLE;
    endcase
    if (rst) begin
      can_read_n  <= '1;
      can_write_n <= '1;
      rd_n        <= 1'b1;
      wr_n        <= 1'b1;
      drive       <= 1'b0;
      rx_valid    <= 1'b0;
      wrote       <= 1'b0;
      left        <= '0;
      state       <= IDLE;
    end
  end
endmodule
