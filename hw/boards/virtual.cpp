// A board in simulation: an image with a host's UART at its pins. ports.h defines TX, RX, CLOCK and RELEASE (pins that
// have to be held for the image to run). `sim PERIOD`, clocks a bit, then serves requests on its standard input:
// count (4 octets), want (4), patience (8), count octets to send. It runs until `want` octets were received, or for
// `patience` clocks after the last octet sent or received, and answers: count (4), clocks so far (8), the octets.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "Vtop.h"
#include "ports.h"
#include "verilated.h"

static const int POWER_ON = 512;  // clocks after which an image is out of reset

// One direction of the line, sampled every clock; places are 0: start bit, 1 to 8: data, 9: stop bit.
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
    bool idle() const { return place > 9; }
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

int main(int argc, char** argv) {
    const double period = argc > 1 ? std::atof(argv[1]) : 32;
    VerilatedContext context;
    Vtop top{&context};
    Sender sender{period};
    Receiver receiver{period};
    uint64_t clocks = 0;
    top.RX = 1;
    RELEASE;
    for (int i = 0; i < 2 * POWER_ON; ++i) {
        top.CLOCK = i & 1;
        top.eval();
    }
    struct {
        uint32_t count, want;
        uint64_t patience;
    } request;
    while (std::fread(&request, sizeof request, 1, stdin) == 1) {
        std::vector<uint8_t> data(request.count);
        if (request.count && std::fread(data.data(), 1, data.size(), stdin) != data.size()) return 1;
        sender.queue.insert(sender.queue.end(), data.begin(), data.end());
        uint64_t last = clocks;
        while (receiver.octets.size() < request.want && clocks - last <= request.patience) {
            top.RX = sender.step();
            top.CLOCK = 0;
            top.eval();
            if (receiver.step(top.TX) || !sender.idle()) last = clocks;
            top.CLOCK = 1;
            top.eval();
            ++clocks;
        }
        const uint32_t count = static_cast<uint32_t>(receiver.octets.size());
        std::fwrite(&count, sizeof count, 1, stdout);
        std::fwrite(&clocks, sizeof clocks, 1, stdout);
        std::fwrite(receiver.octets.data(), 1, count, stdout);
        std::fflush(stdout);
        receiver.octets.clear();
    }
    top.final();
    return 0;
}
