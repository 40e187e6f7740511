// A host behind an FT232H in asynchronous 245 FIFO mode, looked at every clock of the image. Levels change with the slowest
// times of the data sheet, and after an octet RXF# or TXE# is high for 49 to 69 ns more. The chip refuses octets now and
// then, as where its buffer is full. A protocol error ends the simulation.
class Host {
  public:
    Host(double clock, double) : clock(clock) {}
    std::deque<uint8_t>& queue() { return to_send; }
    std::vector<uint8_t>& octets() { return received; }
    bool idle() const { return to_send.empty(); }
    void reset(Vtop& top) { top.fifo_rxf = top.fifo_txe = 1; }
    double next() const { return clocks * clock; }
    bool event(Vtop& top) {
        now = clocks++ * clock;
        const bool arrived = sample(top);
        drive(top);
        return arrived;
    }

  private:
    void drive(Vtop& top) {
        // Data are on the bus while RD# is low, from 14 ns on; before that they are wrong.
        if (!top.fifo_rd && now >= read_at + 14) {
            top.fifo_d = to_send.front();
        } else {
            top.fifo_d = static_cast<uint8_t>(now);
        }
        top.fifo_rxf = to_send.empty() || now < rxf_at;
        top.fifo_txe = now < txe_at;
    }
    bool sample(Vtop& top) {
        bool arrived = false;
        if (was_rd && !top.fifo_rd) {
            read_at = now;
            check(!top.fifo_rxf, "RD# while RXF# is high");
            check(!top.fifo_d__en, "RD# while the bus is driven");
        } else if (!was_rd && top.fifo_rd) {
            check(now - read_at >= 30, "RD# low for less than 30 ns");
            to_send.pop_front();
            rxf_at = now + 14 + busy();
        }
        if (was_wr && !top.fifo_wr) {  // the chip takes the octet when WR# falls
            written_at = now;
            check(!top.fifo_txe, "WR# while TXE# is high");
            check(top.fifo_d__en == 0xff && was_driven == top.fifo_d__out, "data not valid before WR#");
            received.push_back(static_cast<uint8_t>(top.fifo_d__out));
            arrived = true;
        } else if (!was_wr && top.fifo_wr) {
            check(now - written_at >= 30, "WR# low for less than 30 ns");
            txe_at = now + 14 + busy() + (received.size() % 200 == 199 ? 3000 : 0);
        }
        was_rd = top.fifo_rd;
        was_wr = top.fifo_wr;
        was_driven = top.fifo_d__en == 0xff ? static_cast<int>(top.fifo_d__out) : -1;
        return arrived;
    }
    static void check(bool right, const char* what) {
        if (right) return;
        std::fprintf(stderr, "FT232H: %s\n", what);
        std::exit(1);
    }
    double busy() {
        random = random * 1664525u + 1013904223u;
        return 49 + (random >> 16) % 20;
    }
    double clock, now = 0, read_at = 0, written_at = 0, rxf_at = 0, txe_at = 0;
    uint64_t clocks = 0;
    std::deque<uint8_t> to_send;
    std::vector<uint8_t> received;
    uint32_t random = 1;
    int was_rd = 1, was_wr = 1, was_driven = -1;
};
