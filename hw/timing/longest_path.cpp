// Incremental longest paths over the events of one frame. hw/timing/longest_path.py explains the method.
#include "tables.hpp"
#include <algorithm>

namespace {

constexpr int64_t SPAN = 32; // as in longest_path.py
constexpr int MAX_PASSES = 8; // over one node in one sweep

enum Mode : int64_t { PRESENT, BYPASSED, UNBOUNDED };

struct Events {
    Array<int64_t> first, first_beat;
    Array<int32_t> node;
    Array<int64_t> writer, reader;
    Array<int32_t> producer, consumer, consumed, produced, requires, required_by;
};

struct State {
    Array<int64_t> cycle;
    Array<int32_t> parent;
    Array<int64_t> delay;
    Array<int32_t> raised;
    Array<int64_t> previous;
    Array<bool> dirty, pending, awake;
    Array<int32_t> visited, path;
};

// The event that an event waits for, and the cycle before which it cannot happen.
struct Bound {
    int64_t cause, cycle;
    void tighten(int64_t other, int64_t candidate) {
        if (candidate >= cycle) cause = other, cycle = candidate;
    }
};

class LongestPath {
  public:
    LongestPath(const Tables &tables, const Events &events, const State &state, const int64_t *mode, int64_t interval)
        : tables(tables), events(events), state(state), mode(mode), interval(interval) {}

    bool run(const bool *changed) {
        const int64_t count = tables.nodes.size;
        int64_t low = count, high = -1;
        for (int64_t node = 0; node < count; ++node) {
            if (!changed[node]) continue;
            mark(node);
            low = std::min(low, node), high = std::max(high, node);
        }
        const bool feasible = sweep(low, high);
        if (!feasible) {
            std::fill_n(state.dirty.data, state.dirty.size, false);
            std::fill_n(state.pending.data, state.pending.size, false);
            std::fill_n(state.awake.data, state.awake.size, false);
        }
        for (int64_t i = 0; i < raised; ++i) {
            const int64_t event = state.raised[i];
            state.parent[event] = -1;
            state.visited[event] = 0;
            if (!feasible) state.cycle[event] = state.previous[event];
        }
        return feasible;
    }

  private:
    const Tables &tables;
    const Events &events;
    const State &state;
    const int64_t *mode;
    const int64_t interval;
    int64_t raised = 0, examined = 0, walks = 0;

    // All events of a node are to be examined.
    void mark(int64_t node) {
        state.awake[node] = true;
        mark_spans(events.first[node], tables.nodes[node].total);
        if (events.first_beat[node] >= 0)
            mark_spans(events.first_beat[node], tables.buffers[tables.nodes[node].buffer].beats);
    }

    void mark_spans(int64_t first, int64_t count) {
        for (int64_t span = first / SPAN; span <= (first + count - 1) / SPAN; ++span) state.dirty[span] = true;
    }

    // Sweeps up and down until no node is awake; whether a schedule exists. Nodes near the change, from `low` to
    // `high`, come first: a loop without a solution mostly is there.
    bool sweep(int64_t low, int64_t high) {
        const int64_t count = tables.nodes.size;
        int64_t followed = 0;
        for (bool up = true;;) {
            bool idle = true, more = false;
            for (int64_t step = 0; step < count; ++step) {
                const int64_t node = up ? step : count - 1 - step;
                if (!state.awake[node]) continue;
                if (node < low || node > high) {
                    more = true;
                    continue;
                }
                idle = false;
                relax(node);
            }
            if (idle) {
                if (!more) return true;
                const int64_t margin = high - low + 4;
                low -= margin, high += margin;
                continue;
            }
            up = !up;
            if (examined - followed > raised) {
                if (!follow_parents()) return false;
                followed = examined;
            }
        }
    }

    void relax(int64_t node) {
        state.awake[node] = false;
        for (int pass = 0; pass < MAX_PASSES; ++pass) {
            const bool beats = events.first_beat[node] >= 0 && raise(BufferBeats(*this, node));
            const bool firings = raise(Firings(*this, node));
            if (!beats && !firings) return;
        }
        state.awake[node] = true;
    }

    // Raises the events of a part of a node that are too early, in dirty spans; whether there was a dirty span.
    template <class Part> bool raise(Part part) {
        bool work = false, passed = false;
        for (int64_t span = part.first / SPAN; span <= (part.first + part.count - 1) / SPAN; ++span) {
            if (!state.dirty[span]) continue;
            state.dirty[span] = false;
            work = true;
            const int64_t start = span * SPAN, end = std::min(part.first + part.count, start + SPAN);
            examined += end - start;
            part.seek(start);
            for (int64_t event = start; event < end; ++event, part.next()) {
                const Bound bound = part.bound(event);
                if (bound.cycle > state.cycle[event]) {
                    if (state.parent[event] < 0) {
                        state.previous[event] = state.cycle[event];
                        state.raised[raised++] = event;
                    }
                    state.delay[event] = bound.cycle - state.cycle[bound.cause];
                    state.parent[event] = bound.cause;
                    state.cycle[event] = bound.cycle;
                } else if (!state.pending[event]) {
                    continue;
                }
                state.pending[event] = false;
                passed = true;
                touch(event + 1 < part.first + part.count ? event + 1 : part.first);
                if (events.required_by[event] >= 0) touch(events.required_by[event]);
                part.touch_neighbours(event);
            }
        }
        if (passed) part.wake_neighbours();
        return work;
    }

    // An event that this one depends on has changed.
    void touch(int64_t event) { state.dirty[event / SPAN] = true; }

    // The event before this one in a cyclic sequence of `count` events from `first` on, `gap` cycles apart.
    Bound after_previous(int64_t event, int64_t first, int64_t count, int64_t gap) const {
        if (event > first) return {event - 1, state.cycle[event - 1] + gap};
        const int64_t last = first + count - 1;
        return {last, state.cycle[last] - interval + gap};
    }

    // The beats that a buffer takes.
    struct BufferBeats {
        LongestPath &solver;
        const Node &row;
        const Buffer &buffer;
        const int64_t first, count; // events
        int64_t edge, offset, writer;

        BufferBeats(LongestPath &solver, int64_t node)
            : solver(solver), row(solver.tables.nodes[node]), buffer(solver.tables.buffers[row.buffer]),
              first(solver.events.first_beat[node]), count(buffer.beats), edge(solver.tables.ports[row.inputs].edge),
              offset(solver.tables.offset[edge]), writer(solver.events.writer[edge]), firings(solver.events.first[node]) {}

        void seek(int64_t) {}
        void next() {}

        Bound bound(int64_t event) const {
            const State &state = solver.state;
            Bound bound = solver.after_previous(event, first, count, 1);
            const int64_t freed = solver.events.requires[event];
            const int64_t frame = freed >= 0 && freed < row.total ? 0 : floor_div(freed, row.total);
            const int64_t cause = firings + freed - frame * row.total;
            bound.tighten(cause, state.cycle[cause] + frame * solver.interval + buffer.release);
            if (writer >= 0) {
                const int64_t producer = solver.events.producer[offset + event - first];
                bound.tighten(producer, state.cycle[producer] + solver.tables.nodes[writer].latency);
            }
            return bound;
        }

        void touch_neighbours(int64_t event) const {
            if (!solver.limits(writer)) return;
            const int64_t beat = event - first + solver.tables.nodes[writer].credits;
            solver.touch(solver.events.producer[offset + (beat < count ? beat : beat % count)]);
        }

        void wake_neighbours() const {
            if (solver.limits(writer)) solver.state.awake[writer] = true;
        }

      private:
        const int64_t firings;
    };

    // The firings of a kernel.
    struct Firings {
        LongestPath &solver;
        const Node &row;
        const Buffer *buffer;
        const int64_t first, count; // events

        Firings(LongestPath &solver, int64_t node)
            : solver(solver), row(solver.tables.nodes[node]),
              buffer(row.buffer >= 0 ? &solver.tables.buffers[row.buffer] : nullptr), first(solver.events.first[node]),
              count(row.total), beats(solver.events.first_beat[node]), limited(solver.mode[node] == PRESENT) {}

        void seek(int64_t event) { turn = (event - first) / row.events, phase = (event - first) % row.events; }

        void next() {
            if (++phase == row.events) phase = 0, ++turn;
        }

        Bound bound(int64_t event) const {
            const Tables &tables = solver.tables;
            const Events &events = solver.events;
            const Array<int64_t> &cycle = solver.state.cycle;
            Bound bound = solver.after_previous(event, first, count, tables.gaps[row.pattern + phase]);
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) {
                const auto [edge, pattern] = tables.ports[port];
                const int64_t writer = events.writer[edge];
                if (!tables.consumes[pattern + phase] || writer < 0) continue;
                const int64_t producer = events.producer[tables.offset[edge] + beat(events.consumed, port)];
                bound.tighten(producer, cycle[producer] + tables.nodes[writer].latency);
            }
            if (buffer) {
                const int64_t need = events.requires[event];
                const int64_t frame = need >= 0 ? 0 : floor_div(need, buffer->beats);
                const int64_t cause = beats + need - frame * buffer->beats;
                bound.tighten(cause, cycle[cause] + frame * solver.interval + buffer->delay);
            }
            if (!limited) return bound;
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) {
                const auto [edge, pattern] = tables.ports[port];
                if (!tables.produces[pattern + phase]) continue;
                const int64_t returned = beat(events.produced, port) - row.credits;
                const int64_t size = tables.offset[edge + 1] - tables.offset[edge];
                const int64_t frame = returned >= 0 ? 0 : floor_div(returned, size);
                const int64_t consumer = events.consumer[tables.offset[edge] + returned - frame * size];
                const int64_t release = events.reader[edge] >= 0 ? 1 : 1 + row.latency;
                bound.tighten(consumer, cycle[consumer] + frame * solver.interval + release);
            }
            return bound;
        }

        void touch_neighbours(int64_t) const {
            const Tables &tables = solver.tables;
            const Events &events = solver.events;
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) {
                const auto [edge, pattern] = tables.ports[port];
                const int64_t writer = events.writer[edge];
                if (!tables.consumes[pattern + phase] || !solver.limits(writer)) continue;
                const int64_t credited = beat(events.consumed, port) + tables.nodes[writer].credits;
                touch_producer(edge, credited);
            }
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) {
                const auto [edge, pattern] = tables.ports[port];
                if (!tables.produces[pattern + phase]) continue;
                const int64_t here = beat(events.produced, port);
                if (events.reader[edge] >= 0)
                    solver.touch(events.consumer[tables.offset[edge] + here]);
                else if (limited)
                    touch_producer(edge, here + row.credits);
            }
        }

        void wake_neighbours() const {
            const Events &events = solver.events;
            for (int64_t port = row.inputs; port < row.inputs_end; ++port)
                wake(events.writer[solver.tables.ports[port].edge]);
            for (int64_t port = row.outputs; port < row.outputs_end; ++port)
                wake(events.reader[solver.tables.ports[port].edge]);
        }

      private:
        const int64_t beats; // the first event that is a beat of the buffer
        const bool limited;  // by the credits of its outputs
        int64_t turn = 0, phase = 0;

        // The number of the beat that a port moves in this event. `before` counts the beats before each element of
        // the pattern; a pattern has one element more there.
        int64_t beat(const Array<int32_t> &before, int64_t port) const {
            const int64_t pattern = solver.tables.ports[port].pattern + port;
            return turn * before[pattern + row.events] + before[pattern + phase];
        }

        // Touches the producer of a beat, which may be of a later frame.
        void touch_producer(int64_t edge, int64_t beat) const {
            const int64_t first = solver.tables.offset[edge], size = solver.tables.offset[edge + 1] - first;
            solver.touch(solver.events.producer[first + (beat < size ? beat : beat % size)]);
        }

        void wake(int64_t node) const {
            if (node >= 0) solver.state.awake[node] = true;
        }
    };

    // Whether the credits of this node, or -1, can hold it up.
    bool limits(int64_t node) const { return node >= 0 && mode[node] == PRESENT; }

    // Makes all raised events as late as their parents are now; whether the parents form no loop.
    bool follow_parents() {
        const int32_t done = 2 * ++walks, open = done - 1;
        for (int64_t i = 0; i < raised; ++i) {
            int64_t length = 0, event = state.raised[i];
            for (; state.parent[event] >= 0 && state.visited[event] < open; event = state.parent[event]) {
                state.visited[event] = open;
                state.path[length++] = event;
            }
            if (state.parent[event] >= 0 && state.visited[event] == open) return false;
            while (length > 0) {
                event = state.path[--length];
                state.visited[event] = done;
                const int64_t cycle = state.cycle[state.parent[event]] + state.delay[event];
                if (cycle <= state.cycle[event]) continue;
                state.cycle[event] = cycle;
                state.pending[event] = true;
                touch(event);
                state.awake[events.node[event / SPAN]] = true;
            }
        }
        return true;
    }
};

} // namespace

extern "C" bool relax(const Tables &tables, const Events &events, const State &state, const int64_t *mode,
                      int64_t interval, const bool *changed) {
    return LongestPath(tables, events, state, mode, interval).run(changed);
}
