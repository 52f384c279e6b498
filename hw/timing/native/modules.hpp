// When the beats of a frame move through the modules of hw/rtl; hw/timing/modules.py clocks the same ones.
//
// A module's `step` works out as many cycles as follow from what is known: when its input beats are offered, and when
// its output beats have moved. It sets when the input beats move and when the output beats are offered. No module ever
// needs what lies in its future, so all cycles of a frame are found, in whichever order modules take turns.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "stream.hpp"

namespace timing {

// Cycles of work, cycles in which it could not work because of its output, most words that a FIFO held.
template <class T>
struct Tally {
    T busy{0}, blocked{0};
    int64_t high_water = 0;
};

// What a step has found.
enum Found : unsigned { kNothing = 0, kMoved = 1, kOffered = 2 };

template <class T>
struct State {
    std::vector<T> times;
    std::vector<int64_t> numbers;
};

template <class T>
struct Reader {
    const State<T>& state;
    size_t time = 0, number = 0;
    T next_time() { return state.times[time++]; }
    int64_t next_number() { return state.numbers[number++]; }
};

template <class T>
class Module {
public:
    Module() = default;
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;
    virtual ~Module() = default;

    virtual unsigned step() = 0;
    // Adds what was done in this frame up to cycle `end`.
    virtual void tally(Tally<T>& tally, int64_t end) const = 0;
    virtual void end_frame() {}
    // What outlives a frame beside the streams.
    virtual void save(State<T>&) const {}
    virtual void load(Reader<T>&) {}
};

// Beats that moved until `end`.
template <class T>
int64_t moved_until(const Stream<T>& stream, int64_t end) {
    if (end >= kForever) return stream.beats;
    int64_t count = 0;
    for (int64_t k = 0; k < stream.beats; ++k) count += value_of(stream.at[k]) <= end;
    return count;
}

// Cycles from `from` to before `to`, as far as they are not after `end`.
template <class T>
T span(T from, T to, int64_t end) {
    if (end >= kForever) return positive(to - from);
    return T{std::max<int64_t>(0, std::min(value_of(to), end + 1) - value_of(from))};
}

// Cycles in which an output beat waits.
template <class T>
T waits(const Stream<T>& out, int64_t end) {
    T sum{0};
    for (int64_t k = 0; k < out.beats; ++k) sum += span(out.valid(k), out.at[k], end);
    return sum;
}

// bnn_mvau, and with a fold of 1 every pipeline that stands still as a whole while its output waits.
//
// It counts steps in which it advances: input beat k is step `u`, and its output comes out `latency` steps later. Step u
// is cycle u + stalled_, where `stalled_` are the cycles that outputs due at step u or before have waited.
template <class T>
class Pipeline : public Module<T> {
public:
    Pipeline(Stream<T>& in, Stream<T>& out, int64_t latency, int64_t synapse_fold, int64_t neuron_fold,
             int64_t first_cycle)
        : in_{in}, out_{out}, latency_{latency}, synapse_fold_{synapse_fold}, neuron_fold_{neuron_fold},
          first_cycle_{first_cycle}, past_{neuron_fold + latency + 1}, due_(past_ + out.beats, T{-1}), step_{-1},
          missing_{synapse_fold} {
        out.paced = true;
        out.keep(past_ + 1);
    }

    unsigned step() override {
        const int64_t first = in_.moved;
        while (in_.moved < in_.offered && take()) take_on();
        return in_.moved > first ? kMoved | kOffered : kNothing;
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        tally.blocked += waits(out_, end);
        tally.busy += T{moved_until(in_, end) + replays(end)};
    }

    void end_frame() override {
        // Steps are counted anew, so that step and cycle are the same for the next input beat.
        std::copy(due_.end() - past_, due_.end(), due_.begin());
        for (int64_t i = 0; i < past_; ++i) due_[i] += stalled_;
        step_ += stalled_;
        stalled_ = T{0};
        passed_ -= out_.beats;
    }

    void save(State<T>& state) const override {
        state.times.push_back(step_);
        state.times.insert(state.times.end(), due_.begin(), due_.begin() + past_);
        state.numbers.push_back(passed_);
    }

    void load(Reader<T>& reader) override {
        step_ = reader.next_time();
        for (int64_t i = 0; i < past_; ++i) due_[i] = reader.next_time();
        passed_ = reader.next_number();
    }

private:
    T& due(int64_t m) { return due_[past_ + m]; }
    const T& due(int64_t m) const { return due_[past_ + m]; }

    // The next input beat; false if it depends on an output beat that has not moved yet.
    bool take() {
        const T valid = larger(in_.valid(in_.moved), T{first_cycle_});
        T step = larger(step_ + 1, valid - stalled_);
        while (passed_ < out_.offered && at_most(due(passed_), step)) {
            if (passed_ >= out_.moved) return false;
            // It was due as long after the one before as their steps are apart.
            stalled_ += out_.at[passed_] - out_.at[passed_ - 1] - (due(passed_) - due(passed_ - 1));
            step = larger(larger(step_ + 1, due(passed_)), valid - stalled_);
            ++passed_;
        }
        in_.at[in_.moved++] = step + stalled_;
        step_ = step;
        if (--missing_ == 0) offer();
        return true;
    }

    // Further beats of the same vector, which move when they are offered, until an output beat is due.
    void take_on() {
        const int64_t first = in_.moved, end = std::min(in_.offered, first + missing_);
        if (missing_ == synapse_fold_ || first == end) return;
        const T limit = passed_ < out_.offered ? due(passed_) + stalled_ : T{kForever};
        int64_t k = first;
        for (; k < end; ++k) {
            const T valid = in_.valid(k);
            if (at_most(limit, valid)) break;
            in_.at[k] = valid;
        }
        if (k == first) return;
        step_ = in_.at[k - 1] - stalled_;
        in_.moved = k;
        missing_ -= k - first;
        if (missing_ == 0) offer();
    }

    // The output beats of a vector whose last beat came in with step `step_`.
    void offer() {
        for (int64_t group = 0; group < neuron_fold_; ++group) {
            const int64_t m = out_.offered++;
            due(m) = step_ + group * synapse_fold_ + latency_;
            out_.offer[m] = due(m) - due(m - 1);
        }
        step_ = step_ + (neuron_fold_ - 1) * synapse_fold_;
        missing_ = synapse_fold_;
    }

    // Steps of this frame without an input beat.
    int64_t replays(int64_t end) const {
        const int64_t of_vector = (neuron_fold_ - 1) * synapse_fold_;
        if (end >= kForever) return out_.beats / neuron_fold_ * of_vector;
        int64_t m = out_.beats - 1;
        while (m >= 0 && value_of(out_.valid(m)) > end) --m;
        const int64_t moved = value_of(out_.at[m]), last = value_of(due(m));
        const int64_t done = moved > end ? last - 1 : last + end - moved;
        int64_t count = 0;
        for (int64_t first = 0; first < out_.beats; first += neuron_fold_) {
            count += std::clamp<int64_t>(done - (value_of(due(first)) - latency_), 0, of_vector);
        }
        return count;
    }

    Stream<T>&in_, &out_;
    int64_t latency_, synapse_fold_, neuron_fold_, first_cycle_, past_;
    std::vector<T> due_;     // step at which an output beat comes out
    T step_, stalled_{0};    // of the last step that is spoken for
    int64_t passed_ = 0;     // output beats that `stalled_` includes
    int64_t missing_;        // beats until the vector is whole
};

// bnn_fifo.
template <class T>
class Fifo : public Module<T> {
public:
    Fifo(Stream<T>& in, Stream<T>& out, int64_t depth) : in_{in}, out_{out}, depth_{depth} { out.keep(depth); }

    unsigned step() override {
        const int64_t first = in_.moved, end = std::min(in_.offered, out_.moved + depth_);
        for (int64_t k = first; k < end; ++k) {
            in_.at[k] = larger(in_.valid(k), out_.at[k - depth_] + 1);
            out_.offer[k] = in_.at[k] + 1;
        }
        if (end <= first) return kNothing;
        in_.moved = out_.offered = end;
        return kMoved | kOffered;
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        int64_t high = tally.high_water;
        for (int64_t k = 0; k < in_.moved; ++k) {
            // The word that would make it `high + 1` deep finds the one `high` before it still there.
            const int64_t pushed = value_of(in_.at[k]);
            if (pushed > end) break;
            while (high < depth_ && (k - high >= out_.moved || value_of(out_.at[k - high]) > pushed)) ++high;
        }
        tally.high_water = high;
        if (in_.moved < in_.beats) return;
        tally.busy += T{moved_until(in_, end)};
        for (int64_t k = 0; k < in_.beats; ++k) {
            tally.blocked += span(in_.at[k] + 1, out_.at[k + 1 - depth_] + 1, end);
        }
    }

private:
    Stream<T>&in_, &out_;
    int64_t depth_;
};

// bnn_dwc, in units of the greatest common divisor of both widths.
template <class T>
class Converter : public Module<T> {
public:
    Converter(Stream<T>& in, Stream<T>& out, int64_t in_units, int64_t out_units)
        : in_{in}, out_{out}, in_units_{in_units}, out_units_{out_units} {}

    unsigned step() override {
        unsigned found = kNothing;
        while (in_.moved < in_.offered && left_ <= out_.moved) {
            const int64_t k = in_.moved++;
            in_.at[k] = larger(in_.valid(k), out_.at[left_ - 1]);
            found |= kMoved;
            for (units_ += in_units_; units_ >= out_units_; units_ -= out_units_) {
                out_.offer[left_++] = in_.at[k] + 1;
                found |= kOffered;
            }
            out_.offered = left_;
        }
        return found;
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        tally.busy += T{moved_until(in_, end)};
        for (int64_t k = 0, left = 0, units = 0; k < in_.beats; ++k) {
            for (units += in_units_; units >= out_units_; units -= out_units_) ++left;
            tally.blocked += span(in_.at[k] + 1, out_.at[left - 1], end);
        }
    }

    void end_frame() override { left_ = 0; }

private:
    Stream<T>&in_, &out_;
    int64_t in_units_, out_units_;
    int64_t units_ = 0;  // taken and not offered yet
    int64_t left_ = 0;   // output beats that are whole: all of them have left before the next input beat has room
};

}  // namespace timing
