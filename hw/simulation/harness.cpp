// Drives a Verilated design whose ports are streams. ports.h lists them as INPUT(name, beats, words)
// and OUTPUT(name, beats, words): beats of a frame, 32-bit words of a beat; and outputs of 64 bits as COUNTER(name).
// sim FOLDER FRAMES PATIENCE reads FOLDER/name.{data,when,ready}, writes FOLDER/name.{out,taken} and FOLDER/counters,
// the final values of the counters, and prints the number of cycles. Cycle 0 is the first cycle after reset. With WAVEFORM defined, the signals go into
// FOLDER/waveform.vcd; a fourth argument gives the picoseconds of a cycle.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#ifdef WAVEFORM
#include "verilated_vcd_c.h"
#endif
#define COUNTER(name)

template <typename T>
static std::vector<T> load(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    std::vector<T> values(file ? static_cast<size_t>(file.tellg()) / sizeof(T) : 0);
    file.seekg(0);
    if (file) file.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(T));
    return values;
}

template <typename T>
static void store(const std::string& path, const std::vector<T>& values) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// A port's type depends on its width: an integer up to 64 bits, an array of 32-bit words above.
template <typename P>
static void put(P& port, const uint32_t* words, int count) {
    if constexpr (std::is_integral_v<P>) {
        uint64_t value = words[0];
        if (count > 1) value |= static_cast<uint64_t>(words[1]) << 32;
        port = static_cast<P>(value);
    } else {
        for (int i = 0; i < count; ++i) port[i] = words[i];
    }
}

template <typename P>
static void get(const P& port, uint32_t* words, int count) {
    if constexpr (std::is_integral_v<P>) {
        words[0] = static_cast<uint32_t>(port);
        if (count > 1) words[1] = static_cast<uint32_t>(static_cast<uint64_t>(port) >> 32);
    } else {
        for (int i = 0; i < count; ++i) words[i] = port[i];
    }
}

struct Port {
    std::string name;
    int words;
    size_t total;
    size_t done = 0;
    std::vector<uint32_t> data;
    std::vector<uint64_t> when, taken;
    std::vector<uint8_t> ready;
};

int main(int argc, char** argv) {
    const std::string folder = argc > 3 ? argv[1] : ".";
    const size_t frames = argc > 3 ? std::strtoull(argv[2], nullptr, 10) : 0;
    const uint64_t patience = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
    VerilatedContext context;
#ifdef WAVEFORM
    context.traceEverOn(true);
#endif
    Vtop top{&context};
#ifdef WAVEFORM
    const uint64_t period = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 10000;
    uint64_t half_cycles = 0;
    VerilatedVcdC waveform;
    waveform.set_time_unit("1ps");
    waveform.set_time_resolution("1ps");
    top.trace(&waveform, 99);
    waveform.open((folder + "/waveform.vcd").c_str());
#define DUMP waveform.dump(half_cycles++ * period / 2);
#else
#define DUMP
#endif

#define INPUT(name, beats, words)  \
    Port in_##name{#name, words, frames * beats}; \
    in_##name.data = load<uint32_t>(folder + "/" #name ".data"); \
    in_##name.when = load<uint64_t>(folder + "/" #name ".when");
#define OUTPUT(name, beats, words)  \
    Port out_##name{#name, words, frames * beats}; \
    out_##name.data.resize(out_##name.total * words); \
    out_##name.ready = load<uint8_t>(folder + "/" #name ".ready");
#include "ports.h"
#undef INPUT
#undef OUTPUT

    top.rst = 1;
    top.clk = 0;
#define INPUT(name, beats, words) top.name##_valid = 0;
#define OUTPUT(name, beats, words) top.name##_ready = 0;
#include "ports.h"
#undef INPUT
#undef OUTPUT
    for (int i = 0; i < 8; ++i) {
        top.clk = i & 1;
        top.eval();
        DUMP
    }
    top.rst = 0;

    uint64_t cycle = 0, last = 0;
    for (;; ++cycle) {
        // Inputs of this cycle change while the clock is low.
        top.clk = 0;
        bool busy = false;
#define INPUT(name, beats, words)  { \
        Port& p = in_##name; \
        busy |= p.done < p.total; \
        const bool offer = p.done < p.total && (p.when.empty() || p.when[p.done] <= cycle); \
        top.name##_valid = offer; \
        if (offer) put(top.name##_data, &p.data[p.done * words], words); }
#define OUTPUT(name, beats, words)  { \
        Port& p = out_##name; \
        busy |= p.done < p.total; \
        top.name##_ready = cycle >= p.ready.size() || p.ready[cycle]; }
#include "ports.h"
#undef INPUT
#undef OUTPUT
        if (!busy) break;
        top.eval();
        DUMP
#define INPUT(name, beats, words)  \
        if (top.name##_valid && top.name##_ready) { \
            in_##name.taken.push_back(cycle); ++in_##name.done; last = cycle; }
#define OUTPUT(name, beats, words)  \
        if (top.name##_valid && top.name##_ready && out_##name.done < out_##name.total) { \
            get(top.name##_data, &out_##name.data[out_##name.done * words], words); \
            out_##name.taken.push_back(cycle); ++out_##name.done; last = cycle; }
#include "ports.h"
#undef INPUT
#undef OUTPUT
        top.clk = 1;
        top.eval();
        DUMP
        if (cycle - last > patience) {
#define INPUT(name, beats, words) \
            std::fprintf(stderr, "%s took %zu of %zu beats; ", #name, in_##name.done, in_##name.total);
#define OUTPUT(name, beats, words) \
            std::fprintf(stderr, "%s gave %zu of %zu beats; ", #name, out_##name.done, out_##name.total);
#include "ports.h"
#undef INPUT
#undef OUTPUT
            std::fprintf(stderr, "nothing moved for %llu cycles\n", static_cast<unsigned long long>(patience));
            return 1;
        }
    }
#define INPUT(name, beats, words) store(folder + "/" #name ".taken", in_##name.taken);
#define OUTPUT(name, beats, words) \
    store(folder + "/" #name ".taken", out_##name.taken); \
    store(folder + "/" #name ".out", out_##name.data);
#undef COUNTER
#define COUNTER(name) counters.push_back(top.name);
    std::vector<uint64_t> counters;
#include "ports.h"
#undef INPUT
#undef OUTPUT
    if (!counters.empty()) store(folder + "/counters", counters);
    top.final();
#ifdef WAVEFORM
    waveform.close();
#endif
    std::printf("%llu\n", static_cast<unsigned long long>(cycle));
    return 0;
}
