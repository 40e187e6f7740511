// What every library shares: arrays that NumPy owns, and integer division as Python has it.
#pragma once
#include <cstdint>

// A field of hw.native.library.Struct.
template <class T> struct Array {
    T *data;
    int64_t size;
    T &operator[](int64_t i) const { return data[i]; }
};

// The quotient rounded down; the divisor is positive.
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The quotient rounded up; the divisor is positive.
inline int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }
