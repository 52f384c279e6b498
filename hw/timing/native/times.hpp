// Cycles as numbers, and as numbers that grow from frame to frame.
//
// A run in which each cycle is a sum or a maximum of earlier ones is a piecewise linear function of its start. With
// `Growing` it is followed for a start that moves on by a slope: each comparison says for how many more steps its
// outcome stays the same, and the least of these, `horizon`, is how far all of it goes on linearly.
#pragma once

#include <algorithm>
#include <cstdint>

namespace timing {

constexpr int64_t kForever = int64_t{1} << 60;

struct Growing {
    int64_t value, slope;
    explicit Growing(int64_t v = 0, int64_t s = 0) : value{v}, slope{s} {}
};

// Steps for which the comparisons since its last reset keep their outcome; several threads may run at once.
inline thread_local int64_t horizon = kForever;

inline Growing operator+(Growing a, int64_t b) { return Growing{a.value + b, a.slope}; }
inline Growing operator-(Growing a, int64_t b) { return Growing{a.value - b, a.slope}; }
inline Growing operator+(Growing a, Growing b) { return Growing{a.value + b.value, a.slope + b.slope}; }
inline Growing operator-(Growing a, Growing b) { return Growing{a.value - b.value, a.slope - b.slope}; }
inline Growing& operator+=(Growing& a, Growing b) { return a = a + b; }

inline int64_t value_of(int64_t a) { return a; }
inline int64_t value_of(Growing a) { return a.value; }

// a's lead over b shrinks with each step by `loss`; it may reach `least` but not fall below.
inline void hold(int64_t lead, int64_t loss, int64_t least) {
    if (loss > 0) horizon = std::min(horizon, (lead - least) / loss);
}

inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline Growing larger(Growing a, Growing b) {
    if (a.value < b.value || (a.value == b.value && a.slope < b.slope)) std::swap(a, b);
    hold(a.value - b.value, b.slope - a.slope, 0);
    return a;
}

inline bool at_most(int64_t a, int64_t b) { return a <= b; }
inline bool at_most(Growing a, Growing b) {
    if (a.value <= b.value) {
        hold(b.value - a.value, a.slope - b.slope, 0);
        return true;
    }
    hold(a.value - b.value, b.slope - a.slope, 1);
    return false;
}

template <class T>
T positive(T a) {
    return larger(a, T{0});
}

}  // namespace timing
