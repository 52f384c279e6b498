// The handshakes of hw/rtl as small state machines; hw/timing/modules.py has the same ones in Python.
//
// A module's tvalid depends on its registers alone, so it is kept from one cycle to the next. `clock_edge` is
// handed whether the stream before offers a beat and whether the one after takes one, passes the clock edge,
// and returns s_axis_tready of the cycle that ended. A new module is a new `Kind` and a new case.
#pragma once

#include <cstdint>

namespace timing {

// The same numbers as in hw/timing/encoding.py.
enum Kind : int64_t {
    kPipeline = 0,  // latency
    kMvau = 1,      // latency, synapse fold, steps of a vector
    kFifo = 2,      // depth
    kConverter = 3, // units of an input beat, units of an output beat
    kPadding = 4,   // beats of a row, rows, first and end column of the map, first and end row of it
    kWindow = 5,    // depth, beats of a kernel row, kernel rows, columns, rows, skip, step, row step, frame step
    kPool = 6       // beats of a window, of these before the last pixel
};

// A row of the array that Python hands over.
struct Module {
    int64_t kind;
    int64_t p[11];
};

struct State {
    int64_t valid;  // m_axis_tvalid
    int64_t s[7];
};

// Cycles of each activity, and the most words that a FIFO held.
struct Counts {
    int64_t busy, starved, blocked, high_water;
};

// What a cycle was used for: a beat or a step of work, waiting for input, waiting for the output to be taken.
inline void count(Counts& counts, bool runs, bool works) {
    counts.busy += runs && works;
    counts.starved += runs && !works;
    counts.blocked += !runs;
}

// Bit b of `s[0]` is a beat that reaches the output after b more edges.
inline bool pipeline(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    const bool ready = taken || !state.valid;
    if (ready) {
        state.s[0] = state.s[0] >> 1 | static_cast<int64_t>(offered) << (m.p[0] - 1);
        state.valid = state.s[0] & 1;
    }
    count(counts, ready, offered);
    return ready;
}

// `s[1]`: steps done of a vector; `s[2]`: of a group of neurons.
inline bool mvau(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    const bool advance = taken || !state.valid;
    const bool load = state.s[1] < m.p[1];
    const bool step = offered || !load;
    if (advance) {
        state.s[0] >>= 1;
        if (step) {
            ++state.s[1];
            if (++state.s[2] == m.p[1]) {
                state.s[2] = 0;
                state.s[0] |= int64_t{1} << (m.p[0] - 1);
                if (state.s[1] == m.p[2]) state.s[1] = 0;
            }
        }
        state.valid = state.s[0] & 1;
    }
    count(counts, advance, step);
    return advance && load;
}

inline bool fifo(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    const bool ready = state.s[0] < m.p[0];
    state.s[0] += (offered && ready) - (state.valid && taken);
    state.valid = state.s[0] > 0;
    if (state.s[0] > counts.high_water) counts.high_water = state.s[0];
    count(counts, ready, offered);
    return ready;
}

inline bool converter(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    const int64_t rest = state.valid && taken ? state.s[0] - m.p[1] : state.s[0];
    const bool ready = rest < m.p[1];
    state.s[0] = offered && ready ? rest + m.p[0] : rest;
    state.valid = state.s[0] >= m.p[1];
    count(counts, ready, offered);
    return ready;
}

// `s[0]`, `s[1]`: column and row of the beat that is written next.
inline bool padding(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    const bool advance = taken || !state.valid;
    const int64_t x = state.s[0], y = state.s[1];
    const bool inside = x >= m.p[2] && x < m.p[3] && y >= m.p[4] && y < m.p[5];
    const bool write = offered || !(inside || (x == 0 && y == 0));
    if (advance) {
        state.valid = write;
        if (write && ++state.s[0] == m.p[0]) {
            state.s[0] = 0;
            if (++state.s[1] == m.p[1]) state.s[1] = 0;
        }
    }
    count(counts, advance, write);
    return advance && inside;
}

// The next beat of a window is read. `s`: have, offset, beat, ky, x, y.
inline void fetch(const Module& m, State& state) {
    int64_t &have = state.s[0], &offset = state.s[1], &beat = state.s[2], &ky = state.s[3];
    int64_t &x = state.s[4], &y = state.s[5];
    if (++beat < m.p[1]) {
        ++offset;
        return;
    }
    beat = 0;
    if (++ky < m.p[2]) {
        offset += m.p[5];
        return;
    }
    ky = offset = 0;
    if (++x < m.p[3]) {
        have -= m.p[6];
        return;
    }
    x = 0;
    if (++y < m.p[4]) {
        have -= m.p[7];
        return;
    }
    y = 0;
    have -= m.p[8];
}

inline bool window(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    const bool ready = state.s[0] < m.p[0], advance = taken || !state.valid;
    const bool reads = state.s[0] > state.s[1];
    if (advance) {
        state.valid = reads;
        if (reads) fetch(m, state);
    }
    state.s[0] += offered && ready;
    count(counts, advance, reads);
    return ready;
}

// `s[0]`: beats taken of a window.
inline bool pool(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    const bool ready = taken || !state.valid;
    if (ready) {
        state.valid = offered && state.s[0] >= m.p[1];
        if (offered && ++state.s[0] == m.p[0]) state.s[0] = 0;
    }
    count(counts, ready, offered);
    return ready;
}

inline bool clock_edge(const Module& m, State& state, Counts& counts, bool offered, bool taken) {
    switch (m.kind) {
        case kPipeline: return pipeline(m, state, counts, offered, taken);
        case kMvau: return mvau(m, state, counts, offered, taken);
        case kFifo: return fifo(m, state, counts, offered, taken);
        case kPadding: return padding(m, state, counts, offered, taken);
        case kWindow: return window(m, state, counts, offered, taken);
        case kPool: return pool(m, state, counts, offered, taken);
        default: return converter(m, state, counts, offered, taken);
    }
}

}  // namespace timing
