// The recurrences of a dataflow graph as tables: hw.timing.recurrences.Tables, with the same names.
#pragma once
#include "array.hpp"

constexpr int64_t UNKNOWN = -1; // the cycle of a beat that is not solved yet

struct Node {
    int64_t events, total, latency, credits, inputs, inputs_end, outputs, outputs_end, buffer, pattern, input_registers;
};

struct Port {
    int64_t edge, pattern;
};

struct Buffer {
    int64_t beats, places, start, reach, delay, release, loops, loops_end, first, end, words_per_beat;
};

struct Loop {
    int64_t turns, position, oldest;
};

struct Tables {
    Array<Node> nodes;
    Array<Port> ports;
    Array<int64_t> gaps;
    Array<bool> consumes, produces;
    Array<int64_t> offset, clock;
    Array<Buffer> buffers;
    Array<Loop> loops;
};

// Goes to the next firing of a buffer's reader: counts up `index`, and returns the row of the loop that turns (row 0:
// the next frame begins). `loops` and `index` begin at row 0 of the buffer.
inline int64_t advance(const Loop *loops, int64_t rows, int64_t *index) {
    for (int64_t row = rows - 1; row > 0; --row) {
        if (++index[row] < loops[row].turns) return row;
        index[row] = 0;
    }
    return 0;
}
