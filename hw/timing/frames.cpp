// The solution of the recurrences frame by frame, in memory that does not grow with the beats of a frame.
// hw/timing/frames.py states what it computes.
#include "tables.hpp"
#include <algorithm>
#include <vector>

namespace {

constexpr int64_t ROOM = 1024; // beats that a writer may be ahead of its reader in the solution, at first
enum Outcome : int64_t { REPEATS, UNDECIDED, DEADLOCK };

// Numbers by beat, of which the last ones are kept.
class Ring {
  public:
    int64_t &operator[](int64_t beat) { return values[beat & mask]; }

    // Makes room for `count` beats; those from `low` to before `high` are kept.
    void reserve(int64_t count, int64_t low, int64_t high) {
        if (count <= mask + 1) return;
        int64_t size = 16;
        while (size < count) size *= 2;
        std::vector<int64_t> larger(size);
        for (int64_t beat = low; beat < high; ++beat) larger[beat & (size - 1)] = values[beat & mask];
        values.swap(larger);
        mask = size - 1;
    }

  private:
    std::vector<int64_t> values = std::vector<int64_t>(1);
    int64_t mask = 0;
};

// An edge: beats that its writer has offered and that its reader has taken, in all frames.
struct Edge {
    int64_t writer = -1, reader = -1, beats = 0, credits = 0, look_back = 0, room = ROOM;
    int64_t offers = 0, takes = 0;
    int64_t start = -1, last = -1; // the cycles in which the first beat was taken, and the last one so far
    Ring offered, taken;

    // The first beat whose cycle of being taken a later event may depend on.
    int64_t first() const { return std::max<int64_t>(0, std::min(offers - credits, takes - look_back)); }

    void reserve() {
        const int64_t places = room + credits + look_back + 2;
        offered.reserve(places, std::max<int64_t>(0, takes - 1), offers);
        taken.reserve(places, first(), takes);
    }

    void take(int64_t cycle) {
        if (!takes) start = cycle;
        taken[takes++] = last = cycle;
    }
    bool full() const { return offers - takes >= room; }
};

// Where a buffer of the input edge `edge` stands: all values count over frames. `needed`: beats that a firing has needed so far.
struct Window {
    int64_t edge = -1, position = 0, oldest = 0, frame = 0, needed = 0;
    int64_t places = 0; // beats that have or had a place
    Ring allowed;       // by beat that is not taken the first cycle in which it has a place
};

class FrameSolver {
  public:
    FrameSolver(const Tables &tables, int64_t interval, int64_t *waits)
        : tables(tables), interval(interval), waits(waits), edges(tables.offset.size - 1), done(tables.nodes.size),
          phases(tables.nodes.size), clock(tables.clock.data, tables.clock.data + tables.clock.size),
          beats(tables.ports.size), index(tables.loops.size), windows(tables.buffers.size) {
        for (size_t i = 0; i < edges.size(); ++i) edges[i].beats = tables.offset[i + 1] - tables.offset[i];
        for (int64_t node = 0; node < tables.nodes.size; ++node) {
            const Node &row = tables.nodes[node];
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) at(port).reader = node;
            for (int64_t port = row.outputs; port < row.outputs_end; ++port)
                at(port).writer = node, at(port).credits = row.credits;
            if (row.buffer < 0) continue;
            const Buffer &buffer = tables.buffers[row.buffer];
            at(row.inputs).look_back = buffer.places / buffer.words_per_beat + 2;
            Window &window = windows[row.buffer];
            window.edge = tables.ports[row.inputs].edge;
            window.position = window.oldest = buffer.start;
            allow(row.buffer, 0);
        }
        for (Edge &edge : edges) edge.reserve();
    }

    // Solves up to `limit` frames. `latency`: of the first one, from the first beat in to the last beat out.
    Outcome run(int64_t limit, int64_t *latency) {
        std::vector<int64_t> state, before;
        for (int64_t frame = 0; frame < limit; ++frame) {
            if (!solve(frame)) return DEADLOCK;
            if (frame == 0) *latency = span();
            state.clear();
            const bool whole = describe(state, (frame + 1) * interval);
            if (whole && state == before) return REPEATS;
            before.swap(state);
        }
        return UNDECIDED;
    }

  private:
    const Tables &tables;
    const int64_t interval;
    int64_t *waits;
    std::vector<Edge> edges;
    std::vector<int64_t> done, phases, clock; // by node: events solved, their number in the pattern, cycle of the last
    std::vector<int64_t> beats;               // by port: beats that have moved
    std::vector<int64_t> index;               // by loop of a buffer: its turn
    std::vector<Window> windows;              // by buffer
    bool crowded = false;                     // whether a node has waited for room in the solution

    Edge &at(int64_t port) { return edges[tables.ports[port].edge]; }

    // Solves all events of a frame; whether that is possible.
    bool solve(int64_t frame) {
        while (true) {
            bool moved = false, whole = true;
            crowded = false;
            for (Edge &edge : edges)
                if (edge.writer < 0)
                    for (; edge.offers < (frame + 1) * edge.beats && !edge.full(); moved = true)
                        edge.offered[edge.offers++] = frame * interval;
            for (int64_t node = 0; node < tables.nodes.size; ++node) {
                const Node &row = tables.nodes[node];
                const int64_t goal = row.total * (frame + 1);
                const bool single = row.inputs_end == row.inputs + 1 && row.outputs_end == row.outputs + 1;
                waits[node] = -1;
                if (row.buffer < 0 && single && !row.input_registers)
                    moved |= run_single(node, row, goal);
                else
                    moved |= run_general(node, row, goal);
                whole &= done[node] == goal;
            }
            for (Edge &edge : edges) {
                if (edge.reader < 0)
                    for (; edge.takes < edge.offers; moved = true)
                        edge.take(std::max(edge.last + 1, edge.offered[edge.takes]));
                whole &= edge.takes == (frame + 1) * edge.beats;
            }
            if (whole) return true;
            if (moved) continue;
            if (!crowded) return false;
            for (Edge &edge : edges)
                if (edge.full()) edge.room *= 2, edge.reserve();
        }
    }

    // Cycles from the first beat in to the last beat out, both counted.
    int64_t span() const {
        int64_t first = -1, last = -1;
        for (const Edge &edge : edges) {
            if (edge.writer < 0) first = first < 0 ? edge.start : std::min(first, edge.start);
            if (edge.reader < 0) last = std::max(last, edge.last);
        }
        return last - first + 1;
    }

    // Appends all cycles, less `origin`, that events of later frames depend on; whether there are as many as there will
    // be in later frames.
    bool describe(std::vector<int64_t> &state, int64_t origin) {
        bool whole = true;
        for (int64_t cycle : clock) state.push_back(cycle - origin);
        for (Edge &edge : edges) {
            if (edge.reader < 0) state.push_back(edge.last - origin);
            whole &= edge.offers >= edge.credits;
            for (int64_t beat = std::max<int64_t>(0, edge.offers - edge.credits); beat < edge.takes; ++beat)
                state.push_back(edge.taken[beat] - origin);
        }
        for (int64_t node = 0; node < tables.nodes.size; ++node) {
            const Node &row = tables.nodes[node];
            if (row.buffer < 0) continue;
            Edge &edge = at(row.inputs);
            Window &window = windows[row.buffer];
            state.push_back(edge.last - origin);
            for (int64_t beat = std::max<int64_t>(0, window.needed); beat < edge.takes; ++beat)
                state.push_back(edge.taken[beat] - origin);
            for (int64_t beat = edge.takes; beat < window.places; ++beat)
                state.push_back(std::max(window.allowed[beat], edge.last) - origin);
        }
        return whole;
    }

    // As run_general, for what most nodes are: one input, one output, no buffer.
    bool run_single(int64_t node, const Node &row, int64_t goal) {
        const Port input = tables.ports[row.inputs], output = tables.ports[row.outputs];
        const bool *consumes = tables.consumes.data + input.pattern, *produces = tables.produces.data + output.pattern;
        const int64_t *gaps = tables.gaps.data + row.pattern;
        Edge &in = edges[input.edge], &out = edges[output.edge];
        const int64_t started = done[node];
        int64_t event = started, phase = phases[node], cycle = clock[node];
        for (; event < goal; ++event) {
            int64_t earliest = cycle + gaps[phase];
            if (consumes[phase]) {
                if (in.takes == in.offers) {
                    waits[node] = row.inputs;
                    break;
                }
                earliest = std::max(earliest, in.offered[in.takes]);
            }
            if (produces[phase]) {
                const int64_t freed = out.offers - out.credits;
                if (freed >= out.takes) {
                    waits[node] = row.outputs;
                    break;
                }
                if (freed >= 0) earliest = std::max(earliest, out.taken[freed] + 1);
                if (out.full()) {
                    crowded = true;
                    break;
                }
                out.offered[out.offers++] = earliest + row.latency;
            }
            if (consumes[phase]) in.take(earliest);
            cycle = earliest;
            phase = phase + 1 < row.events ? phase + 1 : 0;
        }
        clock[node] = cycle, done[node] = event, phases[node] = phase;
        return event > started;
    }

    bool run_general(int64_t node, const Node &row, int64_t goal) {
        bool progress = row.buffer >= 0 && fill(row);
        for (; done[node] < goal; ++done[node]) {
            const int64_t phase = phases[node], earliest = clock[node] + tables.gaps[row.pattern + phase];
            int64_t cycle = earliest;
            bool ready = true;
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) {
                if (!tables.consumes[tables.ports[port].pattern + phase]) continue;
                Edge &edge = at(port);
                if (beats[port] == edge.offers) {
                    waits[node] = port, ready = false;
                    continue;
                }
                const int64_t offered = edge.offered[beats[port]];
                if (row.input_registers && edge.takes == beats[port]) {
                    edge.take(std::max(earliest, offered));
                    progress = true;
                }
                cycle = std::max(cycle, offered);
            }
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) {
                if (!tables.produces[tables.ports[port].pattern + phase]) continue;
                Edge &edge = at(port);
                const int64_t freed = edge.offers - edge.credits;
                if (freed >= edge.takes)
                    waits[node] = port, ready = false;
                else if (freed >= 0)
                    cycle = std::max(cycle, edge.taken[freed] + 1);
                if (edge.full()) crowded = true, ready = false;
            }
            if (row.buffer >= 0 && ready) {
                Edge &edge = at(row.inputs);
                Window &window = windows[row.buffer];
                const int64_t need = needed(row.buffer);
                if (need > edge.takes) progress |= fill(row);
                if (need > edge.takes)
                    waits[node] = row.inputs, ready = false;
                else if (need > window.needed)
                    cycle = std::max(cycle, edge.taken[need - 1] + tables.buffers[row.buffer].delay);
                if (ready) window.needed = std::max(window.needed, need);
            }
            if (!ready) break;
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) {
                if (!tables.consumes[tables.ports[port].pattern + phase]) continue;
                if (!row.input_registers) at(port).take(cycle);
                ++beats[port];
            }
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) {
                if (!tables.produces[tables.ports[port].pattern + phase]) continue;
                Edge &edge = at(port);
                edge.offered[edge.offers++] = cycle + row.latency;
            }
            if (row.buffer >= 0) step(row.buffer, cycle);
            clock[node] = cycle;
            phases[node] = phase + 1 < row.events ? phase + 1 : 0;
            progress = true;
        }
        if (row.buffer >= 0) progress |= fill(row);
        return progress;
    }

    // Beats that the next firing of a buffer's reader needs.
    int64_t needed(int64_t i) const {
        const Buffer &buffer = tables.buffers[i];
        const int64_t frame_end = (windows[i].frame + 1) * buffer.beats * buffer.words_per_beat;
        return ceil_div(std::min(windows[i].position + buffer.reach, frame_end), buffer.words_per_beat);
    }

    // The reader of a buffer has fired in `cycle`: its position moves on, and places become free.
    void step(int64_t i, int64_t cycle) {
        const Buffer &buffer = tables.buffers[i];
        const Loop *loops = tables.loops.data + buffer.loops;
        const int64_t row = advance(loops, buffer.loops_end - buffer.loops, index.data() + buffer.loops);
        windows[i].position += loops[row].position;
        windows[i].frame += row == 0;
        if (!loops[row].oldest) return;
        windows[i].oldest += loops[row].oldest;
        allow(i, cycle + buffer.release);
    }

    // Beats that have a place now, and had none before, may be taken from `cycle` on.
    void allow(int64_t i, int64_t cycle) {
        const Buffer &buffer = tables.buffers[i];
        Window &window = windows[i];
        const int64_t places = std::max<int64_t>(0, window.oldest + buffer.places) / buffer.words_per_beat;
        if (places <= window.places) return;
        const int64_t taken = edges[window.edge].takes;
        window.allowed.reserve(places - taken + 1, taken, window.places);
        for (; window.places < places; ++window.places) window.allowed[window.places] = cycle;
    }

    // Takes beats into the buffer of a node as far as is known; whether there were any.
    bool fill(const Node &row) {
        Edge &edge = at(row.inputs);
        Window &window = windows[row.buffer];
        const int64_t before = edge.takes;
        while (edge.takes < edge.offers && edge.takes < window.places)
            edge.take(std::max({edge.offered[edge.takes], window.allowed[edge.takes], edge.last + 1}));
        beats[row.inputs] = edge.takes;
        return edge.takes > before;
    }
};

} // namespace

extern "C" int64_t solve_frames(const Tables &tables, int64_t interval, int64_t limit, int64_t *latency, int64_t *waits) {
    return FrameSolver(tables, interval, waits).run(limit, latency);
}
