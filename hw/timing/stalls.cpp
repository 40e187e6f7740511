// What every node waited for in the last frames of a solved graph. See hw/timing/accounting.py.
#include "tables.hpp"
#include <algorithm>
#include <vector>

namespace {

// Cycles in [earliest, cycle) in which the buffer could have taken a beat that had not arrived. `offered` and `taken`
// begin at the buffer's first beat; `written`: the first beat that is taken in cycle `earliest` or later.
int64_t starved(const int64_t *offered, const int64_t *taken, int64_t written, int64_t need, int64_t earliest,
                int64_t cycle) {
    int64_t total = 0, before = written ? taken[written - 1] : -1;
    for (int64_t beat = written; beat < need && before < cycle - 1; ++beat) {
        if (taken[beat] == offered[beat]) {
            const int64_t start = std::max(before + 1, earliest), end = std::min(taken[beat], cycle);
            total += std::max<int64_t>(0, end - start);
        }
        before = taken[beat];
    }
    return total;
}

} // namespace

extern "C" void count_stalls(const Tables &tables, const int64_t *offered, const int64_t *taken, int64_t last,
                             int64_t frames, int64_t *waited, int64_t *spans) {
    std::vector<int64_t> index(tables.loops.size), beats(tables.ports.size);
    for (int64_t node = 0; node < tables.nodes.size; ++node) {
        const Node &row = tables.nodes[node];
        const Buffer *buffer = row.buffer >= 0 ? &tables.buffers[row.buffer] : nullptr;
        const Loop *loops = buffer ? tables.loops.data + buffer->loops : nullptr;
        const int64_t buffered = buffer ? tables.offset[tables.ports[row.inputs].edge] : 0;
        int64_t position = buffer ? buffer->start : 0, frame = 0, written = 0, need = 0;
        int64_t clock = tables.clock[node], phase = 0;
        const int64_t first = row.total - row.total / frames * last;
        for (int64_t event = 0; event < row.total; ++event) {
            if (event == first) spans[node] = -clock;
            const int64_t earliest = clock + tables.gaps[row.pattern + phase];
            int64_t cycle = earliest, cause = -1;
            const auto bind = [&](int64_t port, int64_t candidate) {
                if (candidate > cycle) cycle = candidate, cause = port;
            };
            for (int64_t port = row.inputs; port < row.inputs_end; ++port)
                if (tables.consumes[tables.ports[port].pattern + phase])
                    bind(port, offered[tables.offset[tables.ports[port].edge] + beats[port]++]);
            if (buffer) {
                const int64_t frame_end = (frame + 1) * buffer->beats * buffer->words_per_beat;
                need = ceil_div(std::min(position + buffer->reach, frame_end), buffer->words_per_beat);
                if (need > 0) bind(row.inputs, taken[buffered + need - 1] + buffer->delay);
            }
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) {
                if (!tables.produces[tables.ports[port].pattern + phase]) continue;
                const int64_t beat = beats[port]++;
                if (beat >= row.credits)
                    bind(port, taken[tables.offset[tables.ports[port].edge] + beat - row.credits] + 1);
            }
            if (buffer) {
                const int64_t turned = advance(loops, buffer->loops_end - buffer->loops, index.data() + buffer->loops);
                position += loops[turned].position;
                frame += turned == 0;
            }
            if (cause >= 0 && event >= first) {
                if (buffer && cause == row.inputs) {
                    while (taken[buffered + written] < earliest) ++written;
                    waited[cause] += starved(offered + buffered, taken + buffered, written, need, earliest, cycle);
                } else {
                    waited[cause] += cycle - earliest;
                }
            }
            clock = cycle;
            phase = phase + 1 < row.events ? phase + 1 : 0;
        }
        spans[node] += clock;
    }
}
