// A host on a network of 1 Gbit/s and the PHY in front of the board. PERIOD is the ns of the PHY's clock, which runs while
// the PHY is not reset. Octets to and from the board are datagrams, with the length before each (2 octets). The host asks
// for the board's MAC address first, and again where no answer comes. Between datagrams there are now and then frames that
// are not for the board, or damaged, and requests for its address. Everything that the board sends is checked; an error ends
// the simulation. Where the board takes what it must not, it counts a damaged message. BOARD_MAC, BOARD_IP and BOARD_PORT
// are those of the image; of OTHERS frames 4 are such ones.
using Octets = std::vector<uint8_t>;

static void add(Octets& to, uint64_t value, int octets) {
    while (octets--) to.push_back(static_cast<uint8_t>(value >> 8 * octets));
}

static uint64_t number(const Octets& from, size_t at, int octets) {
    uint64_t value = 0;
    for (int i = 0; i < octets; ++i) value = value << 8 | from.at(at + i);
    return value;
}

static uint32_t check_sequence(const Octets& octets) {
    uint32_t crc = 0xffffffff;
    for (uint8_t octet : octets) {
        crc ^= octet;
        for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static uint16_t checksum(const Octets& octets, size_t from, size_t to, uint32_t sum = 0) {
    for (size_t i = from; i < to; ++i) sum += (i - from) % 2 ? octets[i] : octets[i] << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

// Frames of the host, without preamble and check sequence.
class Frames {
  public:
    static const uint64_t MAC = 0x020000000099, ALL = 0xffffffffffff;
    static const uint32_t IP = 0xc0a80163;
    static const uint16_t PORT = 50007;
    enum Wrong { NOTHING, FRAGMENT, OPTIONS, OTHER_PORT, OTHER_IP, OTHER_MAC, IP_SUM, UDP_SUM, LONGER, SHORTER, TCP, KINDS };

    static Octets request(uint32_t ip) {
        Octets frame;
        for (uint64_t each : {ALL, MAC}) add(frame, each, 6);
        add(frame, 0x0806000108000604, 8);
        add(frame, 1, 2);
        add(frame, MAC, 6);
        add(frame, IP, 4);
        add(frame, 0, 6);
        add(frame, ip, 4);
        frame.resize(60);
        return frame;
    }

    // A datagram that the board takes, or must not take because something is `wrong`.
    static Octets datagram(const Octets& octets, Wrong wrong, bool with_sum) {
        const size_t options = wrong == OPTIONS ? 4 : 0, length = octets.size() + 8;
        const uint32_t to = BOARD_IP ^ (wrong == OTHER_IP);
        Octets frame;
        add(frame, BOARD_MAC ^ (wrong == OTHER_MAC), 6);
        add(frame, MAC, 6);
        add(frame, 0x0800, 2);
        add(frame, wrong == OPTIONS ? 0x4600 : 0x4500, 2);
        add(frame, length + 20 + options + (wrong == LONGER ? 1 : wrong == SHORTER ? -1 : 0), 2);
        add(frame, 0x1234, 2);
        add(frame, wrong == FRAGMENT ? 0x2000 : 0x4000, 2);
        add(frame, wrong == TCP ? 0x4006 : 0x4011, 2);
        add(frame, 0, 2);
        add(frame, IP, 4);
        add(frame, to, 4);
        add(frame, 0, options);
        const size_t udp = frame.size();
        const uint16_t sum = checksum(frame, 14, udp) ^ (wrong == IP_SUM);
        frame[24] = sum >> 8;
        frame[25] = sum & 0xff;
        add(frame, PORT, 2);
        add(frame, BOARD_PORT ^ (wrong == OTHER_PORT), 2);
        add(frame, length, 2);
        add(frame, 0, 2);
        frame.insert(frame.end(), octets.begin(), octets.end());
        if (with_sum || wrong == UDP_SUM) {
            uint32_t start = 0x11 + static_cast<uint32_t>(length);
            for (uint32_t ip : {IP, to}) start += (ip >> 16) + (ip & 0xffff);
            uint16_t own = checksum(frame, udp, frame.size(), start);
            own = (own ? own : 0xffff) ^ (wrong == UDP_SUM ? 0x100 : 0);
            frame[udp + 6] = own >> 8;
            frame[udp + 7] = own & 0xff;
        }
        while (frame.size() < 60) frame.push_back(0xaa);
        return frame;
    }
};

class Host {
  public:
    Host(double, double period) : half(period / 2) {}
    std::deque<uint8_t>& queue() { return to_send; }
    std::vector<uint8_t>& octets() { return received; }
    bool idle() const { return to_send.empty() && line.empty(); }
    void reset(Vtop& top) { top.eth_rx_clk = top.eth_rx_ctl = top.eth_rx_data = 0; }
    double next() const { return halves * half; }

    bool event(Vtop& top) {
        const bool rising = ++halves & 1;
        if (!top.eth_reset) {
            top.eth_rx_clk = 0;
            running = 0;
            return false;
        }
        if (rising) {
            if (line.empty() && ++running > GAP) fill();
            if (!line.empty()) running = 0;
        }
        const bool on = !line.empty();
        const int octet = on ? line.front() & 0xff : 0xdd;  // between frames: the link is up, 1 Gbit/s, full duplex
        const bool error = on && line.front() >> 8;
        top.eth_rx_ctl = on && (rising || !error);
        top.eth_rx_data = rising ? octet & 15 : octet >> 4;
        if (!rising && on) line.pop_front();
        // What was sent in the half before is on the line until this edge.
        const bool arrived = take(top);
        top.eth_rx_clk = rising;
        return arrived;
    }

  private:
    static const int GAP = 12, AGAIN = 4000;  // clocks
    static void check(bool right, const char* what) {
        if (right) return;
        std::fprintf(stderr, "Ethernet: %s\n", what);
        std::exit(1);
    }

    unsigned chance(unsigned of) {
        random = random * 1664525u + 1013904223u;
        return (random >> 16) % of;
    }

    // A message that is none.
    Octets junk() {
        Octets octets(3 + chance(60), 0);
        octets.front() = octets.back() = 0x7e;
        return octets;
    }

    // Put the next frame on the line, if there is one.
    void fill() {
        if (to_send.empty()) return;
        if (!known) {
            if (!asked || running > AGAIN) put(Frames::request(BOARD_IP));
            asked = true;
            return;
        }
        const int foreign = chance(OTHERS);
        if (foreign == 0) {
            put(Frames::request(BOARD_IP ^ 1));
        } else if (foreign == 1) {
            put(Frames::request(BOARD_IP));
            ++answers;
        } else if (foreign == 2) {
            put(Frames::datagram(junk(), static_cast<Frames::Wrong>(1 + chance(Frames::KINDS - 1)), true));
        } else if (foreign == 3) {
            put(Frames::datagram(junk(), Frames::NOTHING, chance(2)), 1 + chance(3));
        } else {
            const size_t count = to_send[0] | to_send[1] << 8;
            check(to_send.size() >= count + 2, "a datagram of the host is not whole");
            // As the driver does it, never send more than the board has room for.
            const double now = halves * half, since = empty_at > now ? empty_at : now, octet = BOARD_OCTET_PS / 1e3;
            if ((since - now) / octet + static_cast<double>(count) > BOARD_BUFFER) return;
            empty_at = since + static_cast<double>(count) * octet;
            Octets octets;
            to_send.erase(to_send.begin(), to_send.begin() + 2);
            octets.assign(to_send.begin(), to_send.begin() + static_cast<long>(count));
            to_send.erase(to_send.begin(), to_send.begin() + static_cast<long>(count));
            put(Frames::datagram(octets, Frames::NOTHING, chance(8)));
        }
    }

    // `damage` 1: another check sequence, 2: the PHY sees an error, 3: cut short.
    void put(Octets frame, unsigned damage = 0) {
        const uint32_t fcs = check_sequence(frame) ^ (damage == 1 ? 1u << chance(32) : 0);
        for (int i = 0; i < 4; ++i) frame.push_back(static_cast<uint8_t>(fcs >> 8 * i));
        if (damage == 3) frame.resize(frame.size() - 1 - chance(30));
        for (unsigned i = chance(8) ? 0 : 2; i < 7; ++i) line.push_back(0x55);
        line.push_back(0xd5);
        const size_t wrong = damage == 2 ? chance(static_cast<unsigned>(frame.size())) : frame.size();
        for (size_t i = 0; i < frame.size(); ++i) line.push_back(static_cast<uint16_t>(frame[i] | (i == wrong) << 8));
    }

    // Half an octet that the board has sent.
    bool take(Vtop& top) {
        if (top.eth_tx_clk) {
            low = top.eth_tx_data;
            enabled = top.eth_tx_ctl;
            return false;
        }
        check(enabled == top.eth_tx_ctl, "TX_ER");
        if (enabled) {
            check(!frame.empty() || gap >= GAP, "a gap of less than 12 octets");
            frame.push_back(static_cast<uint8_t>(low | top.eth_tx_data << 4));
            gap = 0;
            return false;
        }
        ++gap;
        if (frame.empty()) return false;
        const bool arrived = whole();
        frame.clear();
        return arrived;
    }

    bool whole() {
        check(frame.size() >= 72, "a frame of less than 64 octets");
        check(number(frame, 0, 8) == 0x55555555555555d5, "the preamble");
        frame.erase(frame.begin(), frame.begin() + 8);
        uint32_t fcs = 0;
        for (int i = 0; i < 4; ++i) fcs |= static_cast<uint32_t>(frame[frame.size() - 4 + i]) << 8 * i;
        frame.resize(frame.size() - 4);
        check(fcs == check_sequence(frame), "the check sequence");
        check(number(frame, 0, 6) == Frames::MAC && number(frame, 6, 6) == BOARD_MAC, "a MAC address");
        if (number(frame, 12, 2) == 0x0806) {
            check(number(frame, 14, 8) == 0x0001080006040002, "the header of an ARP reply");
            check(number(frame, 22, 6) == BOARD_MAC && number(frame, 28, 4) == BOARD_IP, "the sender of an ARP reply");
            check(number(frame, 32, 6) == Frames::MAC && number(frame, 38, 4) == Frames::IP, "the target of an ARP reply");
            padding(42);
            check(!known || answers-- > 0, "an ARP reply without a request");
            known = true;
            return false;
        }
        check(number(frame, 12, 4) == 0x08004500, "the type of a frame, or the version of IP");
        check(checksum(frame, 14, 34) == 0, "the checksum of IP");
        check((number(frame, 20, 2) & 0x3fff) == 0 && frame[22] > 0 && frame[23] == 17, "the header of IP");
        check(number(frame, 26, 4) == BOARD_IP && number(frame, 30, 4) == Frames::IP, "an IP address");
        check(number(frame, 34, 2) == BOARD_PORT && number(frame, 36, 2) == Frames::PORT, "a port");
        const size_t length = number(frame, 38, 2);
        check(length > 8 && number(frame, 16, 2) == length + 20 && number(frame, 40, 2) == 0, "the header of UDP");
        padding(34 + length);
        received.push_back(static_cast<uint8_t>(length - 8));
        received.push_back(static_cast<uint8_t>((length - 8) >> 8));
        received.insert(received.end(), frame.begin() + 42, frame.begin() + static_cast<long>(34 + length));
        return true;
    }

    void padding(size_t from) const {
        check(frame.size() == (from < 60 ? 60 : from), "the length of a frame");
        for (size_t i = from; i < frame.size(); ++i) check(!frame[i], "padding other than zeros");
    }

    double half;
    uint64_t halves = 0;
    std::deque<uint8_t> to_send;
    std::vector<uint8_t> received;
    std::deque<uint16_t> line;  // octets from the host, with the PHY's error in bit 8
    Octets frame;               // octets from the board
    uint32_t random = 1;
    int running = 0, gap = GAP, answers = 0;  // running: clocks since the last frame
    int low = 0, enabled = 0;
    bool asked = false, known = false;
    double empty_at = 0;  // when the board has taken what was sent
};
