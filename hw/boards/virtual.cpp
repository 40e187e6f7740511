// A board in simulation: an image with a host at its pins. ports.h defines CLOCK, RELEASE (pins that have to be held for
// the image to run) and the class Host of the transport: `next` is the time at which its pins change next, `event` changes
// them and is true where the host has got an octet, `idle` is false while it still has octets to send. `sim CLOCK PERIOD`,
// the periods of the image's clock and of the host's in ns, serves requests on its standard input: count (4 octets),
// want (4), patience (8), count octets to send. It runs until `want` octets were received, or for `patience` clocks after
// the last octet sent or received, and answers: count (4), clocks so far (8), the octets.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

#include "ports.h"

static const int POWER_ON = 512;  // clocks after which an image is out of reset

int main(int argc, char** argv) {
    if (argc != 3) return 1;
    const double clock = std::atof(argv[1]);
    VerilatedContext context;
    Vtop top{&context};
    Host host{clock, std::atof(argv[2])};
    uint64_t clocks = 0;
    host.reset(top);
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
        host.queue().insert(host.queue().end(), data.begin(), data.end());
        uint64_t last = clocks;
        while (host.octets().size() < request.want && clocks - last <= request.patience) {
            bool arrived = false;
            for (int half = 0; half < 2; ++half) {
                top.CLOCK = half;
                top.eval();
                while (host.next() < (clocks + (half + 1) / 2.0) * clock) {
                    arrived |= host.event(top);
                    top.eval();
                }
            }
            if (arrived || !host.idle()) last = clocks;
            ++clocks;
        }
        const uint32_t count = static_cast<uint32_t>(host.octets().size());
        std::fwrite(&count, sizeof count, 1, stdout);
        std::fwrite(&clocks, sizeof clocks, 1, stdout);
        std::fwrite(host.octets().data(), 1, count, stdout);
        std::fflush(stdout);
        host.octets().clear();
    }
    top.final();
    return 0;
}
