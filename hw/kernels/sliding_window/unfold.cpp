// Copies of what a sliding window sees of an image, in bytes. unfold.py states the layouts.
#include "array.hpp"
#include <algorithm>
#include <cstring>

// x (frames, height, width) to y (frames, rows, columns, lines, runs, size), which holds the padding on entry. `down`,
// `spread_y` and `top`: stride, dilation and padding in lines; `right`, `spread_x` and `left`: in bytes.
extern "C" void copy_windows(const uint8_t *x, uint8_t *y, int64_t frames, int64_t height, int64_t width, int64_t rows,
                             int64_t columns, int64_t lines, int64_t runs, int64_t size, int64_t down, int64_t spread_y,
                             int64_t top, int64_t right, int64_t spread_x, int64_t left) {
    for (int64_t frame = 0; frame < frames; ++frame, x += height * width)
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t column = 0; column < columns; ++column)
                for (int64_t line = 0; line < lines; ++line) {
                    const int64_t at = row * down - top + line * spread_y;
                    if (at < 0 || at >= height) {
                        y += runs * size;
                        continue;
                    }
                    for (int64_t run = 0; run < runs; ++run, y += size) {
                        const int64_t start = column * right - left + run * spread_x;
                        const int64_t low = std::max<int64_t>(start, 0), high = std::min(start + size, width);
                        if (low < high) std::memcpy(y + low - start, x + at * width + low, high - low);
                    }
                }
}
