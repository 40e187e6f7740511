// The solution of the recurrences, beat by beat. hw/timing/recurrences.py states what the tables hold.
#include "tables.hpp"
#include <algorithm>
#include <vector>

namespace {

struct Sink {
    int64_t edge, first, cycles; // an output edge; its first cycle in `ready`, and the cycles stated there
};

// Where a buffer stands: all values count over frames.
struct Reader {
    int64_t position, oldest, frame;
};

class Solver {
  public:
    Solver(const Tables &tables, int64_t *offered, int64_t *taken, int64_t *waits)
        : tables(tables), offered(offered), taken(taken), waits(waits), done(tables.nodes.size),
          phases(tables.nodes.size), clock(tables.clock.data, tables.clock.data + tables.clock.size),
          beats(tables.ports.size), index(tables.loops.size), readers(tables.buffers.size),
          awake(tables.nodes.size + 1, true), writer(tables.offset.size - 1, tables.nodes.size),
          reader(tables.offset.size - 1, tables.nodes.size) {
        for (int64_t node = 0; node < tables.nodes.size; ++node) {
            const Node &row = tables.nodes[node];
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) reader[tables.ports[port].edge] = node;
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) writer[tables.ports[port].edge] = node;
        }
        const int64_t buffered = tables.buffers.size ? tables.buffers[tables.buffers.size - 1].end : 0;
        allowed.assign(buffered, UNKNOWN);
        for (int64_t i = 0; i < tables.buffers.size; ++i) {
            const Buffer &buffer = tables.buffers[i];
            readers[i] = {buffer.start, buffer.start, 0};
            for (int64_t beat = buffer.first; beat < std::min(buffer.end, buffer.first + room(i)); ++beat)
                allowed[beat] = 0;
        }
    }

    // Every node proceeds as far as what is known allows, in turn, until no node moves.
    void run(const Sink *sinks, int64_t sink_count, const bool *ready) {
        std::vector<int64_t> drained(sink_count);
        for (bool moved = true; moved;) {
            moved = false;
            for (int64_t node = 0; node < tables.nodes.size; ++node) {
                if (!awake[node]) continue;
                awake[node] = false;
                if (proceed(node)) {
                    moved = true;
                    wake_neighbours(tables.nodes[node]);
                }
            }
            for (int64_t i = 0; i < sink_count; ++i) moved |= drain(sinks[i], ready, drained[i]);
        }
    }

  private:
    const Tables &tables;
    int64_t *offered, *taken, *waits;
    std::vector<int64_t> done, phases, clock; // by node: events solved, their number in the pattern, cycle of the last
    std::vector<int64_t> beats;               // by port: beats that have moved
    std::vector<int64_t> index;               // by loop of a buffer: its turn
    std::vector<Reader> readers;              // by buffer
    std::vector<int64_t> allowed;             // by beat of a buffer: the first cycle in which it has a place
    std::vector<char> awake;                  // by node: whether a neighbour has moved; the last is the outside
    std::vector<int64_t> writer, reader;      // by edge: its nodes

    bool proceed(int64_t node) {
        const Node &row = tables.nodes[node];
        waits[node] = -1;
        const bool single = row.inputs_end == row.inputs + 1 && row.outputs_end == row.outputs + 1;
        return row.buffer < 0 && single && !row.input_registers ? run_single(node, row) : run_general(node, row);
    }

    void wake_neighbours(const Node &row) {
        for (int64_t port = row.inputs; port < row.inputs_end; ++port) awake[writer[tables.ports[port].edge]] = true;
        for (int64_t port = row.outputs; port < row.outputs_end; ++port) awake[reader[tables.ports[port].edge]] = true;
    }

    // As run_general, for what most nodes are: one input, one output, no buffer.
    bool run_single(int64_t node, const Node &row) {
        const Port input = tables.ports[row.inputs], output = tables.ports[row.outputs];
        const bool *consumes = tables.consumes.data + input.pattern, *produces = tables.produces.data + output.pattern;
        const int64_t *gaps = tables.gaps.data + row.pattern;
        int64_t in = tables.offset[input.edge] + beats[row.inputs];
        int64_t out = tables.offset[output.edge] + beats[row.outputs];
        const int64_t credited = tables.offset[output.edge] + row.credits;
        const int64_t started = done[node];
        int64_t event = started, phase = phases[node], cycle = clock[node];
        for (; event < row.total; ++event) {
            int64_t earliest = cycle + gaps[phase];
            if (consumes[phase]) {
                if (offered[in] == UNKNOWN) waits[node] = row.inputs;
                earliest = std::max(earliest, offered[in]);
            }
            if (produces[phase] && out >= credited) {
                if (taken[out - row.credits] == UNKNOWN) waits[node] = row.outputs;
                earliest = std::max(earliest, taken[out - row.credits] + 1);
            }
            if (waits[node] >= 0) break;
            if (consumes[phase]) taken[in++] = earliest;
            if (produces[phase]) offered[out++] = earliest + row.latency;
            cycle = earliest;
            phase = phase + 1 < row.events ? phase + 1 : 0;
        }
        beats[row.inputs] = in - tables.offset[input.edge];
        beats[row.outputs] = out - tables.offset[output.edge];
        clock[node] = cycle, done[node] = event, phases[node] = phase;
        return event > started;
    }

    bool run_general(int64_t node, const Node &row) {
        const int64_t started = done[node], before = beats[row.inputs];
        int64_t phase = phases[node];
        bool progress = false;
        for (; done[node] < row.total; ++done[node]) {
            waits[node] = -1;
            const int64_t earliest = clock[node] + tables.gaps[row.pattern + phase];
            int64_t cycle = earliest;
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) {
                if (!tables.consumes[tables.ports[port].pattern + phase]) continue;
                const int64_t beat = at(port);
                if (offered[beat] == UNKNOWN) {
                    waits[node] = port;
                } else if (row.input_registers && taken[beat] == UNKNOWN) {
                    taken[beat] = std::max(earliest, offered[beat]);
                    progress = true;
                }
                cycle = std::max(cycle, offered[beat]);
            }
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) {
                if (!tables.produces[tables.ports[port].pattern + phase] || beats[port] < row.credits) continue;
                const int64_t freed = taken[at(port) - row.credits];
                if (freed == UNKNOWN) waits[node] = port;
                cycle = std::max(cycle, freed + 1);
            }
            if (row.buffer >= 0) {
                const int64_t need = needed(row.buffer);
                if (need > beats[row.inputs]) fill(row);
                if (need > beats[row.inputs])
                    waits[node] = row.inputs;
                else if (need > 0)
                    cycle = std::max(cycle, taken[first_beat(row) + need - 1] + tables.buffers[row.buffer].delay);
            }
            if (waits[node] >= 0) break;
            for (int64_t port = row.inputs; port < row.inputs_end; ++port) {
                if (!tables.consumes[tables.ports[port].pattern + phase]) continue;
                if (!row.input_registers) taken[at(port)] = cycle;
                ++beats[port];
            }
            for (int64_t port = row.outputs; port < row.outputs_end; ++port) {
                if (!tables.produces[tables.ports[port].pattern + phase]) continue;
                offered[at(port)] = cycle + row.latency;
                ++beats[port];
            }
            if (row.buffer >= 0) step(row.buffer, cycle);
            clock[node] = cycle;
            phase = phase + 1 < row.events ? phase + 1 : 0;
        }
        phases[node] = phase;
        if (row.buffer >= 0) fill(row);
        return progress || done[node] > started || (row.buffer >= 0 && beats[row.inputs] > before);
    }

    // The next beat of a port.
    int64_t at(int64_t port) const { return tables.offset[tables.ports[port].edge] + beats[port]; }

    int64_t first_beat(const Node &row) const { return tables.offset[tables.ports[row.inputs].edge]; }

    // Beats of a buffer that have or had a place.
    int64_t room(int64_t i) const {
        const Buffer &buffer = tables.buffers[i];
        return std::max<int64_t>(0, readers[i].oldest + buffer.places) / buffer.words_per_beat;
    }

    // Beats that the next firing of a buffer's reader needs.
    int64_t needed(int64_t i) const {
        const Buffer &buffer = tables.buffers[i];
        const int64_t frame_end = (readers[i].frame + 1) * buffer.beats * buffer.words_per_beat;
        return ceil_div(std::min(readers[i].position + buffer.reach, frame_end), buffer.words_per_beat);
    }

    // The reader of a buffer has fired in `cycle`: its position moves on, and places become free.
    void step(int64_t i, int64_t cycle) {
        const Buffer &buffer = tables.buffers[i];
        const Loop *loops = tables.loops.data + buffer.loops;
        const int64_t row = advance(loops, buffer.loops_end - buffer.loops, index.data() + buffer.loops);
        Reader &reader = readers[i];
        reader.position += loops[row].position;
        reader.frame += row == 0;
        if (!loops[row].oldest) return;
        const int64_t before = room(i);
        reader.oldest += loops[row].oldest;
        const int64_t end = std::min(buffer.end - buffer.first, room(i));
        for (int64_t beat = before; beat < end; ++beat) allowed[buffer.first + beat] = cycle + buffer.release;
    }

    // Takes beats into the buffer of a node as far as is known.
    void fill(const Node &row) {
        const Buffer &buffer = tables.buffers[row.buffer];
        const int64_t *offers = offered + first_beat(row), *places = allowed.data() + buffer.first;
        int64_t *takes = taken + first_beat(row), &written = beats[row.inputs];
        for (; written < buffer.end - buffer.first; ++written) {
            if (offers[written] == UNKNOWN || places[written] == UNKNOWN) break;
            const int64_t after = written ? takes[written - 1] + 1 : 0;
            takes[written] = std::max({offers[written], places[written], after});
        }
    }

    // Takes the beats of an output edge as far as is known; whether there were any.
    bool drain(const Sink &sink, const bool *ready, int64_t &drained) {
        const int64_t first = tables.offset[sink.edge], end = tables.offset[sink.edge + 1];
        int64_t beat = first + drained, cycle = drained ? taken[beat - 1] : -1;
        for (; beat < end && offered[beat] != UNKNOWN; ++beat) {
            cycle = std::max(cycle + 1, offered[beat]);
            while (cycle < sink.cycles && !ready[sink.first + cycle]) ++cycle;
            taken[beat] = cycle;
        }
        const bool moved = beat > first + drained;
        if (moved) awake[writer[sink.edge]] = true;
        drained = beat - first;
        return moved;
    }
};

} // namespace

extern "C" void solve(const Tables &tables, int64_t *offered, int64_t *taken, const Sink *sinks, int64_t sink_count,
                      const bool *ready, int64_t *waits) {
    Solver(tables, offered, taken, waits).run(sinks, sink_count, ready);
}
