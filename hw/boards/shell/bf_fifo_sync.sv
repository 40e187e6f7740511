// Master of an FT232H (or FT2232H) in synchronous 245 FIFO mode, clocked by CLKOUT, 60 MHz, which the chip gives; octets
// cross to clk through FIFOs. All outputs come from registers, so that the chip has them half a period before its edge.
// An octet is read at each edge at which RD# and RXF# are low, and written at each at which WR# and TXE# are low: RXF#
// and TXE# are looked at at the edge itself, so that both ends know the same of it. OE# is low a cycle before RD#, and the
// bus rests for a cycle where it turns around. Reading and writing take turns of BURST octets where both can go on.
// CLKOUT stands still while the chip is not in this mode; nothing but octets waits for it then.
`default_nettype none

module bf_fifo_sync #(
    parameter int LOG   = 5,     // log2 of the octets of each FIFO
    parameter int BURST = 8,
    parameter int QUIET = 32,    // as of bf_send_immediate
    parameter int PULSE = 16
) (
    input  wire logic       clk,
    input  wire logic       rst,
    input  wire logic       clkout,
    input  wire logic       rxf_n,     // the chip has an octet
    input  wire logic       txe_n,     // the chip takes an octet
    output      logic       oe_n,      // the chip drives the bus
    output      logic       rd_n,
    output      logic       wr_n,
    output      logic       siwu_n,
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
  localparam int TURN = $clog2(BURST + 1);
  localparam int FLYING = 3;  // octets that may still come when the room is looked at
  typedef enum logic [1:0] {
    IDLE,
    OPEN,   // OE# is low
    READ,   // RD# is low
    WRITE   // WR# is low
  } state_t;
  state_t state;
  logic cleared, chip_rst;
  always_ff @(posedge clk) cleared <= rst;  // for asynchronous resets
  bf_reset_crossing reset (
      .clk   (clkout),
      .rst_in(cleared),
      .rst   (chip_rst)
  );

  logic got, some, pop, held;  // held: d_out was not taken
  logic can_read, can_write, writes, taken, read_last;  // writes: a burst of octets to the chip begins
  logic [LOG:0] room;
  logic [7:0] octet, waiting;
  logic [TURN-1:0] left;
  assign can_read  = !rxf_n && room >= (LOG + 1)'(1 << (LOG - 1));
  assign can_write = !txe_n && (held || some);
  assign writes    = can_write && !(can_read && !read_last);
  assign taken     = !wr_n && !txe_n;
  assign pop       = some && (state == WRITE ? taken && left != '0 : state == IDLE && !held && writes);
  always_ff @(posedge clkout, posedge chip_rst) begin
    if (chip_rst) begin
      state     <= IDLE;
      oe_n      <= 1'b1;
      rd_n      <= 1'b1;
      wr_n      <= 1'b1;
      drive     <= 1'b0;
      got       <= 1'b0;
      held      <= 1'b0;
      read_last <= 1'b0;
      left      <= '0;
      d_out     <= '0;
    end else begin
      got <= !rd_n && !rxf_n;
      if (pop) d_out <= waiting;
      case (state)
        IDLE: begin
          left <= TURN'(BURST - 1);
          if (writes) begin
            wr_n      <= 1'b0;
            drive     <= 1'b1;
            held      <= 1'b1;
            read_last <= 1'b0;
            state     <= WRITE;
          end else if (can_read) begin
            oe_n      <= 1'b0;
            read_last <= 1'b1;
            state     <= OPEN;
          end
        end
        OPEN: begin
          rd_n  <= 1'b0;
          state <= READ;
        end
        READ: begin
          if (left != '0) left <= left - TURN'(1);
          if (rxf_n || room <= (LOG + 1)'(FLYING) || (left == '0 && can_write)) begin
            rd_n  <= 1'b1;
            oe_n  <= 1'b1;
            state <= IDLE;
          end
        end
        default: begin  // WRITE
          if (left != '0) left <= left - TURN'(1);
          if (taken) held <= pop;
          if (!pop) begin
            wr_n  <= 1'b1;
            drive <= 1'b0;
            state <= IDLE;
          end
        end
      endcase
    end
  end
  always_ff @(posedge clkout) octet <= d_in;

  bf_send_immediate #(
      .QUIET(QUIET),
      .PULSE(PULSE)
  ) flush (
      .clk   (clkout),
      .rst   (chip_rst),
      .sent  (taken),
      .siwu_n(siwu_n)
  );
  bf_crossing #(
      .LOG(LOG)
  ) from_host (
      .w_clk  (clkout),
      .w_rst  (chip_rst),
      .w_valid(got),
      .w_ready(),
      .w_room (room),
      .w_data (octet),
      .r_clk  (clk),
      .r_rst  (cleared),
      .r_valid(rx_valid),
      .r_ready(rx_ready),
      .r_data (rx_data)
  );
  bf_crossing #(
      .LOG(LOG)
  ) to_host (
      .w_clk  (clk),
      .w_rst  (cleared),
      .w_valid(tx_valid),
      .w_ready(tx_ready),
      .w_room (),
      .w_data (tx_data),
      .r_clk  (clkout),
      .r_rst  (chip_rst),
      .r_valid(some),
      .r_ready(pop),
      .r_data (waiting)
  );
endmodule
