// The modules at which streams part and meet; hw/timing/joins.py clocks the same ones.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "modules.hpp"

namespace timing {

// bnn_duplicate: a beat is followed by the next one when all copies have left.
template <class T>
class Duplicate : public Module<T> {
public:
    Duplicate(Stream<T>& in, std::vector<Stream<T>*> outs) : in_{in}, outs_{std::move(outs)} {}

    unsigned step() override {
        int64_t end = in_.offered;
        for (const Stream<T>* out : outs_) end = std::min(end, out->moved + 1);
        if (end <= in_.moved) return kNothing;
        for (; in_.moved < end; ++in_.moved) {
            const int64_t k = in_.moved;
            in_.at[k] = larger(in_.valid(k), left(k - 1));
            for (Stream<T>* out : outs_) out->offer[out->offered++] = in_.at[k] + 1;
        }
        return kMoved | kOffered;
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        tally.busy += T{moved_until(in_, end)};
        for (int64_t k = 0; k < in_.beats; ++k) tally.blocked += span(in_.at[k] + 1, left(k), end);
    }

private:
    // Cycle in which the last copy of a beat leaves.
    T left(int64_t k) const {
        T cycle = outs_[0]->at[k];
        for (const Stream<T>* out : outs_) cycle = larger(cycle, out->at[k]);
        return cycle;
    }

    Stream<T>& in_;
    std::vector<Stream<T>*> outs_;
};

// bnn_add: takes a beat of each input in the same cycle.
template <class T>
class Sum : public Module<T> {
public:
    Sum(Stream<T>& first, Stream<T>& second, Stream<T>& out) : first_{first}, second_{second}, out_{out} {}

    unsigned step() override {
        const int64_t end = std::min({first_.offered, second_.offered, out_.moved + 1});
        if (end <= out_.offered) return kNothing;
        for (int64_t k = out_.offered; k < end; ++k) {
            const T cycle = larger(larger(first_.valid(k), second_.valid(k)), out_.at[k - 1]);
            first_.at[k] = second_.at[k] = cycle;
            out_.offer[k] = cycle + 1;
        }
        first_.moved = second_.moved = out_.offered = end;
        return kMoved | kOffered;
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        tally.busy += T{moved_until(first_, end)};
        tally.blocked += waits(out_, end);
    }

private:
    Stream<T>&first_, &second_, &out_;
};

}  // namespace timing
