// A host's SPI master of mode 0. PERIOD is the clocks of a period of SCK. It clocks all the time: octets to send, or
// flags where there are none; octets 0x7f that it receives are dropped. CS ends after every BURST octets.
class Host {
  public:
    explicit Host(double period) : period(period) {}
    std::deque<uint8_t>& queue() { return to_send; }
    std::vector<uint8_t>& octets() { return received; }
    bool idle() const { return !sending && to_send.empty(); }
    void reset(Vtop& top) {
        top.spi_cs = 1;
        top.spi_sck = top.spi_mosi = 0;
    }
    void drive(Vtop& top) {
        arrived = false;
        left -= 1;
        if (left > 0) return;
        left += period / 2;
        if (pause) {  // CS is high
            top.spi_cs = --pause > 1;
            if (!pause) begin(top);
        } else if (!top.spi_sck) {
            in = static_cast<uint8_t>(in << 1 | top.spi_miso);
            top.spi_sck = 1;
        } else {
            top.spi_sck = 0;
            if (++place < 8) {
                top.spi_mosi = out >> (7 - place) & 1;
                return;
            }
            if (in != FILL) {
                received.push_back(in);
                arrived = true;
            }
            sending = false;
            if (++octets_sent % BURST == 0) {
                top.spi_cs = 1;
                pause = 8;
            } else {
                begin(top);
            }
        }
    }
    bool sample(Vtop&) { return arrived; }

  private:
    static const int BURST = 37;
    static const uint8_t FILL = 0x7f, FLAG = 0x7e;
    void begin(Vtop& top) {
        sending = !to_send.empty();
        out = sending ? to_send.front() : FLAG;
        if (sending) to_send.pop_front();
        place = 0;
        top.spi_mosi = out >> 7;
    }
    double period, left = 0;
    std::deque<uint8_t> to_send;
    std::vector<uint8_t> received;
    int pause = 8, place = 0;
    unsigned octets_sent = 0;
    uint8_t in = 0, out = 0;
    bool sending = false, arrived = false;
};
