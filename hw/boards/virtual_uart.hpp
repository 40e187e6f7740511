// A host's UART, sampled every clock of the image; places are 0: start bit, 1 to 8: data, 9: stop bit. PERIOD is the ns of
// a bit.
class Sender {
  public:
    explicit Sender(double period) : period(period) {}
    std::deque<uint8_t> queue;
    bool idle() const { return place > 9 && queue.empty(); }
    int step() {
        if (place > 9) {
            if (queue.empty()) return 1;
            octet = queue.front();
            queue.pop_front();
            place = 0;
            left += period;
        }
        const int level = place == 0 ? 0 : place == 9 ? 1 : octet >> (place - 1) & 1;
        left -= 1;
        if (left <= 0) {
            ++place;
            left += place > 9 ? 0 : period;
        }
        return level;
    }

  private:
    double period, left = 0;
    int place = 10;
    uint8_t octet = 0;
};

class Receiver {
  public:
    explicit Receiver(double period) : period(period) {}
    std::vector<uint8_t> octets;
    bool step(int level) {
        if (place > 9) {
            if (!level) {
                place = 0;
                left = period / 2;
            }
            return false;
        }
        left -= 1;
        if (left > 0) return false;
        left += period;
        if (place == 0 && level) {
            place = 10;
        } else if (place == 9) {
            place = 10;
            if (level) octets.push_back(octet);
            return level;
        } else {
            if (place > 0) octet = static_cast<uint8_t>(octet >> 1 | level << 7);
            ++place;
        }
        return false;
    }

  private:
    double period, left = 0;
    int place = 10;
    uint8_t octet = 0;
};

class Host {
  public:
    Host(double clock, double period) : clock(clock), sender(period / clock), receiver(period / clock) {}
    std::deque<uint8_t>& queue() { return sender.queue; }
    std::vector<uint8_t>& octets() { return receiver.octets; }
    bool idle() const { return sender.idle(); }
    void reset(Vtop& top) { top.uart_rx = 1; }
    double next() const { return clocks * clock; }
    bool event(Vtop& top) {
        ++clocks;
        const bool arrived = receiver.step(top.uart_tx);
        top.uart_rx = sender.step();
        return arrived;
    }

  private:
    double clock;
    uint64_t clocks = 0;
    Sender sender;
    Receiver receiver;
};
