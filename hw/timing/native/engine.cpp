// Follows the handshakes of a chain of modules, cycle by cycle, called from Python through ctypes.
//
// Without stalls the chain is a machine without input, so once it is in a state that it was in before, the rest
// repeats: whole periods are skipped, and the frames after them are followed to the end again, so that every
// count is exact.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "modules.hpp"

namespace {

using timing::Counts;
using timing::Module;
using timing::State;

// The same numbers as in hw/timing/engine.py.
enum Status : int64_t { kDone = 0, kHung = 1, kMemory = 2 };
enum Mode : int64_t { kFree = 0, kRandom = 1, kGiven = 2 };

// Same layout as `_Job` in hw/timing/engine.py: 8-byte fields only.
struct Job {
    const Module* modules;
    int64_t count;
    int64_t frames;
    int64_t in_beats;            // of a frame
    int64_t out_beats;
    int64_t mode;
    uint64_t seed;               // kRandom
    int64_t in_stall;            // probability in 1/256
    int64_t out_stall;
    const uint8_t* source_idle;  // kGiven: of cycle c at c modulo the length
    int64_t source_length;
    const uint8_t* sink_busy;
    int64_t sink_length;
    int64_t deadline;            // cycles without a beat on either side
    int64_t* in_cycles;          // frames * in_beats, or null
    int64_t* out_cycles;         // frames * out_beats, or null
    int64_t* first_in;           // frames
    int64_t* last_out;           // frames
    Counts* counts;              // count
    int64_t cycles;              // out
    int64_t period_frames;       // out: 0 where none was seen
    int64_t period_cycles;       // out
};

// xorshift64*: Marsaglia 2003, Vigna 2016; the same sequence as in hw/verilator/cpp/harness.cpp.
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

// A cycle after which a frame has begun to enter, to be compared with later ones.
struct Snapshot {
    std::vector<State> states;
    std::vector<Counts> counts;
    int64_t frame = -1, cycle = 0, in_flight = 0, patience = 1;
};

class Chain {
public:
    explicit Chain(Job& job) : job_{job}, states_(job.count), counts_(job.count), random_{job.seed} {}

    Status run() {
        const Status status = job_.mode == kFree ? follow<kFree>()
            : job_.mode == kRandom               ? follow<kRandom>()
                                                 : follow<kGiven>();
        std::memcpy(job_.counts, counts_.data(), counts_.size() * sizeof(Counts));
        job_.cycles = cycle_;
        return status;
    }

private:
    template <Mode kMode>
    Status follow() {
        const int64_t in_total = job_.frames * job_.in_beats, out_total = job_.frames * job_.out_beats;
        int64_t idle = 0;
        bool offered = false, taken = true, in = false;
        for (; left_ < out_total; ++cycle_) {
            // A beat that was offered stays until it is taken.
            if constexpr (kMode == kRandom) {
                if (in || !offered) offered = !random_.chance(job_.in_stall) && entered_ < in_total;
                taken = !random_.chance(job_.out_stall);
            } else if constexpr (kMode == kGiven) {
                const bool idle_source = job_.source_idle[cycle_ % job_.source_length] != 0;
                if (in || !offered) offered = !idle_source && entered_ < in_total;
                taken = job_.sink_busy[cycle_ % job_.sink_length] == 0;
            } else {
                offered = entered_ < in_total;
            }
            const bool out = states_.back().valid && taken;
            in = clock_all(offered, taken) && offered;
            const bool first = in && enter();
            if (out) leave();
            if (kMode == kFree && first && searching_) look_for_period();
            idle = in || out ? 0 : idle + 1;
            if (idle > job_.deadline) return kHung;
        }
        return kDone;
    }

    // The clock edge of all modules, the last one first: each needs the tvalid of the one before it as it was.
    // Returns s_axis_tready of the first one.
    bool clock_all(bool offered, bool ready) {
        for (int64_t i = job_.count - 1; i > 0; --i) {
            ready = clock_edge(job_.modules[i], states_[i], counts_[i], states_[i - 1].valid, ready);
        }
        return clock_edge(job_.modules[0], states_[0], counts_[0], offered, ready);
    }

    // Returns whether the beat is the first of a frame.
    bool enter() {
        if (job_.in_cycles != nullptr) job_.in_cycles[entered_] = cycle_;
        const bool first = phase_ == 0;
        if (first) job_.first_in[entered_ / job_.in_beats] = cycle_;
        if (++phase_ == job_.in_beats) phase_ = 0;
        ++entered_;
        return first;
    }

    void leave() {
        if (job_.out_cycles != nullptr) job_.out_cycles[left_] = cycle_;
        ++left_;
        if (left_ % job_.out_beats == 0) job_.last_out[left_ / job_.out_beats - 1] = cycle_;
    }

    // Brent 1980: compares with one earlier state, which moves on after 1, 2, 4, ... frames.
    void look_for_period() {
        const int64_t frame = entered_ / job_.in_beats - (job_.in_beats == 1);
        const int64_t in_flight = frame * job_.out_beats - left_;
        if (before_.frame >= 0 && in_flight == before_.in_flight
            && std::memcmp(states_.data(), before_.states.data(), states_.size() * sizeof(State)) == 0) {
            searching_ = false;
            job_.period_frames = frame - before_.frame;
            job_.period_cycles = cycle_ - before_.cycle;
            // Windows that see borders alone leave before their frame enters: the side that leads sets the end.
            const int64_t leaving = (left_ + job_.out_beats - 1) / job_.out_beats;
            skip(std::max<int64_t>(0, job_.frames - 1 - std::max(frame, leaving)) / job_.period_frames);
        } else if (before_.frame < 0 || frame - before_.frame == before_.patience) {
            const int64_t patience = before_.frame < 0 ? 1 : 2 * before_.patience;
            before_ = Snapshot{states_, counts_, frame, cycle_, in_flight, patience};
        }
    }

    void skip(int64_t periods) {
        const int64_t frames = job_.period_frames;
        if (job_.in_cycles != nullptr) repeat(job_.in_cycles, entered_, frames * job_.in_beats, periods);
        if (job_.out_cycles != nullptr) repeat(job_.out_cycles, left_, frames * job_.out_beats, periods);
        repeat(job_.first_in, entered_ / job_.in_beats + (phase_ > 0), frames, periods);
        repeat(job_.last_out, left_ / job_.out_beats, frames, periods);
        for (size_t i = 0; i < counts_.size(); ++i) {
            const Counts& start = before_.counts[i];
            counts_[i].busy += periods * (counts_[i].busy - start.busy);
            counts_[i].starved += periods * (counts_[i].starved - start.starved);
            counts_[i].blocked += periods * (counts_[i].blocked - start.blocked);
        }
        entered_ += periods * frames * job_.in_beats;
        left_ += periods * frames * job_.out_beats;
        cycle_ += periods * job_.period_cycles;
    }

    void repeat(int64_t* values, int64_t from, int64_t period, int64_t periods) const {
        for (int64_t i = from; i < from + periods * period; ++i) {
            values[i] = values[i - period] + job_.period_cycles;
        }
    }

    Job& job_;
    std::vector<State> states_;
    std::vector<Counts> counts_;
    Snapshot before_;
    Random random_;
    int64_t cycle_ = 0, entered_ = 0, left_ = 0, phase_ = 0;
    bool searching_ = true;
};

}  // namespace

extern "C" int64_t bitsiege_timing_run(Job* job) {
    try {
        return Chain{*job}.run();
    } catch (const std::bad_alloc&) {
        return kMemory;
    }
}
