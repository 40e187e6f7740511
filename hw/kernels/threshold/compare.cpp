// Counts of thresholds below an integer. kernel.py states the layouts.
#include "array.hpp"
#include <algorithm>

namespace {

// y[i] = start[i % lanes] + step[i % lanes] * the number of bounds (steps, lanes) of that lane below x[i].
template <class X, class Y>
void compare(const X *__restrict x, int64_t count, const X *__restrict bounds, const Y *__restrict start,
             const Y *__restrict step, int64_t steps, int64_t lanes, Y *__restrict y) {
    for (int64_t first = 0; first < count; first += lanes, x += lanes, y += lanes) {
        const int64_t here = std::min(lanes, count - first);
        std::copy_n(start, here, y);
        for (int64_t s = 0; s < steps; ++s) {
            const X *bound = bounds + s * lanes;
            for (int64_t i = 0; i < here; ++i) y[i] += x[i] > bound[i] ? step[i] : Y(0);
        }
    }
}

} // namespace

#define FUNCTION(input, output)                                                                                     \
    extern "C" void compare_##input##_##output(const input##_t *x, int64_t count, const input##_t *bounds,          \
                                               const output##_t *start, const output##_t *step, int64_t steps,      \
                                               int64_t lanes, output##_t *y) {                                      \
        compare(x, count, bounds, start, step, steps, lanes, y);                                                    \
    }

#define FUNCTIONS(input) FUNCTION(input, uint8) FUNCTION(input, uint16)

FUNCTIONS(int8)
FUNCTIONS(uint8)
FUNCTIONS(int16)
FUNCTIONS(uint16)
FUNCTIONS(int32)
FUNCTIONS(uint32)
FUNCTIONS(int64)
