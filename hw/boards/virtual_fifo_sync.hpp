// A host behind an FT232H in synchronous 245 FIFO mode. PERIOD is the ns of CLKOUT. What the chip drives changes with the
// slowest times of the data sheet and is wrong from the edge on until then; what it takes must be stable for SETUP before
// the edge. Octets wait in buffers of 1 KiB in each direction, which USB fills and empties with USB_NS for an octet of
// either. The chip refuses octets at random too. A protocol error ends the simulation.
class Host {
  public:
    Host(double, double period) : period(period) {}
    std::deque<uint8_t>& queue() { return to_send; }
    std::vector<uint8_t>& octets() { return received; }
    bool idle() const { return to_send.empty() && in.empty() && out.empty(); }
    void reset(Vtop& top) {
        top.fifo_clkout = 0;
        top.fifo_rxf = top.fifo_txe = 1;
    }
    double next() const {
        const double at[] = {0, HOLD, period / 2, VALID, period - SETUP};
        return edges * period + at[phase];
    }
    bool event(Vtop& top) {
        const int now = phase;
        phase = (phase + 1) % 5;
        switch (now) {
            case 0:
                top.fifo_clkout = 1;
                return edge(top);
            case 1:
                top.fifo_d = static_cast<uint8_t>(draw());  // until the data are valid
                return false;
            case 2:
                top.fifo_clkout = 0;
                return false;
            case 3:
                top.fifo_rxf = in.empty() || stalled_rx;
                top.fifo_txe = out.size() == BUFFER || stalled_tx;
                if (!top.fifo_oe && !in.empty()) top.fifo_d = in.front();
                return false;
            default:
                before = pins(top);
                ++edges;
                return false;
        }
    }

  private:
    // Of the data sheet, in ns: CLKOUT to RXF#, TXE# and data, at least and at most; the setup time of OE#, RD#, WR# and
    // data; how long SIWU# is low here at least.
    static constexpr double HOLD = 0.1, VALID = 9, SETUP = 7.5, STROBE = 250, USB_NS = 25;
    static const size_t BUFFER = 1024;
    struct Pins {
        int oe, rd, wr, driven, data, siwu;
    };
    static Pins pins(Vtop& top) {
        const int driven = top.fifo_d__en;
        return {top.fifo_oe, top.fifo_rd, top.fifo_wr, driven, driven == 0xff ? int(top.fifo_d__out) : -1, top.fifo_siwu};
    }
    bool edge(Vtop& top) {
        const Pins now = pins(top);
        check(now.oe == before.oe && now.rd == before.rd && now.wr == before.wr && now.data == before.data,
              "a change within the setup time");
        check(now.rd || (!now.oe && !last.oe), "RD# low without OE# low for a cycle before");
        check(now.oe || (!now.driven && !last.driven), "OE# low while the bus is driven");
        check(last.oe || !now.driven, "the bus driven a cycle after OE# was low");
        check(now.wr || now.driven == 0xff, "WR# low without data");
        check(now.rd || now.wr, "RD# and WR# low");
        check(now.wr || last.wr || !refused, "WR# low for two cycles with TXE# high");
        if (!now.rd && !top.fifo_rxf) in.pop_front();
        if (!now.wr && !top.fifo_txe) {
            out.push_back(static_cast<uint8_t>(now.data));
            flushed = false;
        }
        refused = !now.wr && top.fifo_txe;
        const double time = edges * period;
        if (last.siwu && !now.siwu) strobe = time;
        if (!last.siwu && now.siwu) {
            check(time - strobe >= STROBE, "SIWU# low for too short a time");
            flushed = true;
        }
        last = now;
        stall(stalled_rx);
        stall(stalled_tx);
        return usb();
    }
    // USB carries an octet in each USB_NS, of both directions in turn where both have one.
    bool usb() {
        bool arrived = false;
        for (credit += period; credit >= USB_NS; credit -= USB_NS) {
            const bool in_can = !to_send.empty() && in.size() < BUFFER;
            if (!out.empty() && (!in_can || turn)) {
                received.push_back(out.front());
                out.pop_front();
                arrived = true;
                turn = false;
            } else if (in_can) {
                in.push_back(to_send.front());
                to_send.pop_front();
                turn = true;
            }
        }
        return arrived;
    }
    void stall(int& left) {
        if (left) {
            --left;
        } else if (draw() % 128 == 0) {
            left = 1 + draw() % 20;
        }
    }
    uint32_t draw() {
        random = random * 1664525u + 1013904223u;
        return random >> 16;
    }
    static void check(bool right, const char* what) {
        if (right) return;
        std::fprintf(stderr, "FT232H: %s\n", what);
        std::exit(1);
    }
    double period, credit = 0, strobe = 0;
    uint64_t edges = 0;
    int phase = 0;
    std::deque<uint8_t> to_send, in, out;
    std::vector<uint8_t> received;
    uint32_t random = 1;
    int stalled_rx = 0, stalled_tx = 0;
    bool turn = false, refused = false, flushed = true;
    Pins before{1, 1, 1, 0, -1, 1}, last = before;
};
