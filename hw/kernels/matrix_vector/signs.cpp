// Matrix products of -1, 0 and +1 by counting bits. signs.py states the layouts.
#include "array.hpp"
#include <algorithm>
#include <vector>

namespace {

constexpr int64_t GROUP = 3;              // words that are counted together
constexpr int64_t BATCH = 10 * GROUP;     // words whose counts fit a byte

// Fields of four bits, each the number of ones in them. Compilers vectorise this on every processor.
inline uint64_t nibble_counts(uint64_t word) {
    word -= (word >> 1) & 0x5555555555555555;
    return (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333);
}

inline uint64_t byte_counts(uint64_t nibbles) {
    return (nibbles & 0x0F0F0F0F0F0F0F0F) + ((nibbles >> 4) & 0x0F0F0F0F0F0F0F0F);
}

// By byte, the ones of three words: a full adder leaves their sum and their carry.
inline uint64_t count_ones(uint64_t a, uint64_t b, uint64_t c) {
    const uint64_t half = a ^ b, sum = half ^ c, carry = (a & b) | (half & c);
    return byte_counts(nibble_counts(sum) + 2 * nibble_counts(carry));
}

inline uint64_t sum_of_bytes(uint64_t word) {
    word = (word & 0x00FF00FF00FF00FF) + ((word >> 8) & 0x00FF00FF00FF00FF);
    word += word >> 16;
    word += word >> 32;
    return word & 0xFFFF;
}

// Adds factor * the ones of word(k, m) for all k < words to y[m]. The outputs are the inner loop: there are always
// enough of them for a vector.
template <class Word>
void add_ones(int64_t words, int64_t outputs, uint64_t *bytes, int32_t factor, int32_t *y, Word word) {
    for (int64_t first = 0; first < words; first += BATCH) {
        const int64_t end = std::min(words, first + BATCH);
        std::fill_n(bytes, outputs, 0);
        int64_t k = first;
        for (; k + GROUP <= end; k += GROUP)
            for (int64_t m = 0; m < outputs; ++m) bytes[m] += count_ones(word(k, m), word(k + 1, m), word(k + 2, m));
        for (; k < end; ++k)
            for (int64_t m = 0; m < outputs; ++m) bytes[m] += byte_counts(nibble_counts(word(k, m)));
        for (int64_t m = 0; m < outputs; ++m) y[m] += factor * static_cast<int32_t>(sum_of_bytes(bytes[m]));
    }
}

} // namespace

// Products of -1 and +1: count - 2 * the signs that differ.
extern "C" void agree(const uint64_t *x, const uint64_t *weights, int64_t rows, int64_t words, int64_t outputs,
                      int64_t count, int32_t *y) {
    std::vector<uint64_t> bytes(outputs);
    for (int64_t row = 0; row < rows; ++row, x += words, y += outputs) {
        std::fill_n(y, outputs, static_cast<int32_t>(count));
        add_ones(words, outputs, bytes.data(), -2, y,
                 [=](int64_t k, int64_t m) { return x[k] ^ weights[k * outputs + m]; });
    }
}

// Products of -1, 0 and +1: the pairs without a zero - 2 * those whose signs differ.
extern "C" void agree_where(const uint64_t *x, const uint64_t *x_nonzero, const uint64_t *weights,
                            const uint64_t *weights_nonzero, int64_t rows, int64_t words, int64_t outputs, int32_t *y) {
    std::vector<uint64_t> bytes(outputs);
    for (int64_t row = 0; row < rows; ++row, x += words, x_nonzero += words, y += outputs) {
        std::fill_n(y, outputs, 0);
        const auto nonzero = [=](int64_t k, int64_t m) { return x_nonzero[k] & weights_nonzero[k * outputs + m]; };
        add_ones(words, outputs, bytes.data(), 1, y, nonzero);
        add_ones(words, outputs, bytes.data(), -2, y,
                 [=](int64_t k, int64_t m) { return (x[k] ^ weights[k * outputs + m]) & nonzero(k, m); });
    }
}
