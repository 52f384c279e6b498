// Source and sink, with and without stalls.
#pragma once

#include <cstdint>

#include "job.hpp"
#include "modules.hpp"

namespace timing {

// xorshift64*: Marsaglia 2003, Vigna 2016; the same sequences as in hw/verilator/cpp/harness.cpp.
class Random {
public:
    explicit Random(uint64_t seed) : state_{seed * 0x9e3779b97f4a7c15ULL | 1} {}
    bool chance(int64_t of_256) {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<int64_t>((state_ * 0x2545f4914f6cdd1dULL) >> 56) < of_256;
    }

private:
    uint64_t state_;
};

// A source that always has a beat.
template <class T>
class FreeSource : public Module<T> {
public:
    explicit FreeSource(Stream<T>& out) : out_{out} {}
    unsigned step() override {
        if (out_.offered == out_.beats) return kNothing;
        out_.offered = out_.beats;
        return kOffered;
    }
    void tally(Tally<T>&, int64_t) const override {}

private:
    Stream<T>& out_;
};

// A sink that takes every beat at once.
template <class T>
class FreeSink : public Module<T> {
public:
    explicit FreeSink(Stream<T>& in) : in_{in} {}
    unsigned step() override {
        if (in_.moved == in_.offered) return kNothing;
        for (; in_.moved < in_.offered; ++in_.moved) in_.at[in_.moved] = in_.valid(in_.moved);
        return kMoved;
    }
    void tally(Tally<T>&, int64_t) const override {}

private:
    Stream<T>& in_;
};

// A source that begins no beat in some cycles, and keeps offering what it has begun to offer.
class StalledSource : public Module<int64_t> {
public:
    StalledSource(const Job& job, Stream<int64_t>& out) : job_{job}, random_{job.seed}, out_{out} {}
    unsigned step() override {
        if (out_.offered == out_.beats || out_.offered > out_.moved) return kNothing;
        int64_t cycle = out_.at[out_.moved - 1] + 1;
        while (idle(cycle)) ++cycle;
        out_.offer[out_.offered++] = cycle;
        return kOffered;
    }
    void tally(Tally<int64_t>&, int64_t) const override {}

private:
    bool idle(int64_t cycle) {
        if (job_.mode == kRandom) return random_.chance(job_.in_stall);
        return job_.source_idle[cycle % job_.source_length] != 0;
    }

    const Job& job_;
    Random random_;
    Stream<int64_t>& out_;
};

// A sink that takes no beat in some cycles.
class StalledSink : public Module<int64_t> {
public:
    StalledSink(const Job& job, Stream<int64_t>& in) : job_{job}, random_{~job.seed}, in_{in} {}
    unsigned step() override {
        if (in_.moved == in_.offered) return kNothing;
        for (; in_.moved < in_.offered; ++in_.moved) {
            int64_t cycle = in_.valid(in_.moved);
            while (busy(cycle)) ++cycle;
            in_.at[in_.moved] = cycle;
        }
        return kMoved;
    }
    void tally(Tally<int64_t>&, int64_t) const override {}

private:
    bool busy(int64_t cycle) {
        if (job_.mode == kGiven) return job_.sink_busy[cycle % job_.sink_length] != 0;
        // One number a cycle, whether a beat waits or not.
        while (drawn_ < cycle) random_.chance(job_.out_stall), ++drawn_;
        ++drawn_;
        return random_.chance(job_.out_stall);
    }

    const Job& job_;
    Random random_;
    int64_t drawn_ = 0;
    Stream<int64_t>& in_;
};

}  // namespace timing
