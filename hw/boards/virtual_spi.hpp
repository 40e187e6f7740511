// A host's SPI master of mode 0. PERIOD is the ns of a period of SCK. It clocks all the time: octets to send, or flags
// where there are none; octets 0x7f that it receives are dropped. CS ends after every BURST octets, and every ABORT of
// these within an octet, which is sent again.
class Host {
  public:
    Host(double, double period) : half(period / 2) {}
    std::deque<uint8_t>& queue() { return to_send; }
    std::vector<uint8_t>& octets() { return received; }
    bool idle() const { return !sending && to_send.empty(); }
    void reset(Vtop& top) {
        top.spi_cs = 1;
        top.spi_sck = top.spi_mosi = 0;
    }
    double next() const { return halves * half; }
    bool event(Vtop& top) {
        ++halves;
        if (pause) {  // CS is high
            --pause;
            if (pause < 2) top.spi_cs = 0;
            if (pause == 1) top.spi_mosi = out >> 7;
        } else if (!top.spi_sck) {
            in = static_cast<uint8_t>(in << 1 | top.spi_miso);
            top.spi_sck = 1;
        } else {
            top.spi_sck = 0;
            if (++place < 8) {
                top.spi_mosi = out >> (7 - place) & 1;
                if (bursts % ABORT == ABORT - 1 && place > bursts / ABORT % 7) end(top);
                return false;
            }
            const bool arrived = in != FILL;
            if (arrived) received.push_back(in);
            begin();
            top.spi_mosi = out >> 7;
            if (++octets_sent % BURST == 0) end(top);
            return arrived;
        }
        return false;
    }

  private:
    static const int BURST = 37, ABORT = 20;
    static const uint8_t FILL = 0x7f, FLAG = 0x7e;
    void begin() {
        sending = !to_send.empty();
        out = sending ? to_send.front() : FLAG;
        if (sending) to_send.pop_front();
        place = 0;
    }
    void end(Vtop& top) {
        top.spi_cs = 1;
        pause = 8;
        place = 0;
        ++bursts;
    }
    double half;
    std::deque<uint8_t> to_send;
    std::vector<uint8_t> received;
    uint64_t halves = 0;
    int pause = 8, place = 0;
    unsigned octets_sent = 0, bursts = 0;
    uint8_t in = 0, out = FLAG;
    bool sending = false;
};
