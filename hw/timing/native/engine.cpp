// Follows frames through a network of modules, called from Python through ctypes.
//
// Each frame is followed beat by beat, which takes no account of cycles in which nothing moves. Without stalls a frame
// depends on those before it through a few cycles alone (`State`). Where these are what they were some frames ago, later
// by the same number of cycles, all frames repeat. Where instead they grow from frame to frame, as while buffers fill,
// the frame is followed once more with `Growing` cycles, which tells how long it goes on like this. Either way frames are
// skipped, and every cycle and count stays exact.

#include <cstring>
#include <deque>
#include <new>
#include <vector>

#include "job.hpp"
#include "network.hpp"

namespace {

using timing::Growing;
using timing::Job;
using timing::kForever;
using timing::State;
using timing::Status;
using timing::Tally;

// Frames after which a growth may repeat.
constexpr int64_t kSpan = 8;
constexpr int64_t kPauseMax = 256;

struct Snapshot {
    int64_t frame = -1;
    State<int64_t> state;
    std::vector<Tally<int64_t>> tallies;
};

// Frames followed once, as they grow from one repetition to the next.
struct Block {
    std::vector<Growing> first_in, last_out, in, out;
    std::vector<Tally<Growing>> tallies;
};

// Whether all cycles of `now` are those of `then` plus one number.
bool repeats(const State<int64_t>& now, const State<int64_t>& then) {
    const int64_t cycles = now.times.back() - then.times.back();
    for (size_t i = 0; i < now.times.size(); ++i) {
        if (now.times[i] - then.times[i] != cycles) return false;
    }
    return now.numbers == then.numbers;
}

// Whether each cycle has grown from `then` to `now` as it had from `before` to `then`.
bool grows(const State<int64_t>& now, const State<int64_t>& then, const State<int64_t>& before) {
    for (size_t i = 0; i < now.times.size(); ++i) {
        if (now.times[i] - then.times[i] != then.times[i] - before.times[i]) return false;
    }
    return now.numbers == then.numbers && then.numbers == before.numbers;
}

class Run {
public:
    explicit Run(Job& job) : job_{job}, network_{job}, tallies_(job.counts == nullptr ? 0 : job.module_count) {}

    Status follow() {
        while (frame_ < job_.frames) {
            const bool last = frame_ == job_.frames - 1;
            const bool complete = network_.follow();
            if (!complete) return hang();
            ++job_.followed;
            const auto &in = network_.input(), &out = network_.output();
            end_ = out.at[out.beats - 1];
            // Where windows leave out the end of a map, beats may enter after the last one has left.
            write(job_.in_cycles, frame_ * in.beats, in.at, in.beats, last ? end_ : kForever);
            write(job_.out_cycles, frame_ * out.beats, out.at, out.beats, kForever);
            write(job_.first_in, frame_, in.at, 1, last ? end_ : kForever);
            job_.last_out[frame_] = end_;
            network_.tally(tallies_, last ? end_ : kForever);
            network_.end_frame();
            ++frame_;
            if (job_.mode == timing::kFree && searching_) look();
            if (job_.period_frames > 0 && job_.until_periodic) break;
        }
        finish(end_ + 1);
        return timing::kDone;
    }

private:
    static void write(int64_t* values, int64_t from, const int64_t* cycles, int64_t count, int64_t end) {
        if (values == nullptr) return;
        for (int64_t k = 0; k < count; ++k) {
            if (cycles[k] <= end) values[from + k] = cycles[k];
        }
    }

    Status hang() {
        network_.tally(tallies_, kForever);
        finish(network_.latest() + 1);
        return timing::kHung;
    }

    void finish(int64_t cycles) {
        job_.cycles = cycles;
        for (size_t i = 0; i < tallies_.size(); ++i) {
            const Tally<int64_t>& tally = tallies_[i];
            job_.counts[i] = {tally.busy, cycles - tally.busy - tally.blocked, tally.blocked, tally.high_water};
        }
    }

    // Looks for a frame from which on it goes on like before.
    void look() {
        Snapshot now{frame_, network_.save(), tallies_};
        if (before_.frame >= 0 && repeats(now.state, before_.state)) return repeat(now, before_);
        for (int64_t span = 1; span <= kSpan && span <= static_cast<int64_t>(recent_.size()); ++span) {
            const Snapshot& then = recent_[recent_.size() - span];
            if (repeats(now.state, then.state)) return repeat(now, then);
        }
        // Brent 1980: an earlier state to compare with moves on after 1, 2, 4, ... frames.
        if (before_.frame < 0 || frame_ - before_.frame == patience_) {
            patience_ = before_.frame < 0 ? 1 : 2 * patience_;
            before_ = now;
        }
        recent_.push_back(std::move(now));
        if (recent_.size() > 2 * kSpan + 1) recent_.pop_front();
        if (frame_ >= next_try_) look_for_growth();
    }

    void look_for_growth() {
        const auto back = [&](int64_t frames) -> const State<int64_t>& {
            return recent_[recent_.size() - 1 - frames].state;
        };
        for (int64_t span = 1; 2 * span < static_cast<int64_t>(recent_.size()); ++span) {
            if (!grows(back(0), back(span), back(2 * span))) continue;
            if (grow(back(0), back(span), span)) {
                pause_ = 1;
                recent_.clear();
            } else {
                pause_ = std::min(kPauseMax, 2 * pause_);
            }
            next_try_ = frame_ + pause_;
            return;
        }
    }

    // Frames from `then` to `now` repeat.
    void repeat(const Snapshot& now, const Snapshot& then) {
        searching_ = false;
        const int64_t frames = now.frame - then.frame, cycles = now.state.times.back() - then.state.times.back();
        job_.period_frames = frames;
        job_.period_cycles = cycles;
        if (job_.until_periodic) return;
        const int64_t periods = std::max<int64_t>(0, (job_.frames - 1 - frame_) / frames);
        const auto copy = [&](int64_t* values, int64_t beats) {
            if (values == nullptr) return;
            for (int64_t i = frame_ * beats; i < (frame_ + periods * frames) * beats; ++i) {
                values[i] = values[i - frames * beats] + cycles;
            }
        };
        copy(job_.in_cycles, network_.input().beats);
        copy(job_.out_cycles, network_.output().beats);
        copy(job_.first_in, 1);
        copy(job_.last_out, 1);
        for (size_t i = 0; i < tallies_.size(); ++i) {
            tallies_[i].busy += periods * (now.tallies[i].busy - then.tallies[i].busy);
            tallies_[i].blocked += periods * (now.tallies[i].blocked - then.tallies[i].blocked);
        }
        State<int64_t> state = now.state;
        for (int64_t& time : state.times) time += periods * cycles;
        network_.load(state);
        frame_ += periods * frames;
    }

    // Skips frames of which each block of `span` is the one before plus what `now` is more than `then`.
    bool grow(const State<int64_t>& now, const State<int64_t>& then, int64_t span) {
        State<Growing> start;
        start.numbers = now.numbers;
        for (size_t i = 0; i < now.times.size(); ++i) {
            start.times.emplace_back(now.times[i], now.times[i] - then.times[i]);
        }
        Block block;
        if (!follow_block(start, span, block)) return false;
        // The last block of the growth is followed as usual, so that it sets the FIFOs' high-water marks as the first
        // one does: in between they lie between these two.
        const int64_t blocks = std::min(timing::horizon, (job_.frames - frame_) / span - 2);
        if (blocks < 2) return false;
        const int64_t in_beats = network_.input().beats, out_beats = network_.output().beats;
        for (int64_t i = 0; i < blocks; ++i) {
            const int64_t frame = frame_ + i * span;
            extend(job_.in_cycles, frame * in_beats, block.in, i);
            extend(job_.out_cycles, frame * out_beats, block.out, i);
            extend(job_.first_in, frame, block.first_in, i);
            extend(job_.last_out, frame, block.last_out, i);
        }
        const int64_t sum = blocks * (blocks - 1) / 2;
        for (size_t i = 0; i < tallies_.size(); ++i) {
            const Tally<Growing>& tally = block.tallies[i];
            tallies_[i].busy += blocks * tally.busy.value + sum * tally.busy.slope;
            tallies_[i].blocked += blocks * tally.blocked.value + sum * tally.blocked.slope;
            tallies_[i].high_water = tally.high_water;
        }
        State<int64_t> end = now;
        for (size_t i = 0; i < end.times.size(); ++i) end.times[i] += blocks * start.times[i].slope;
        network_.load(end);
        frame_ += blocks * span;
        return true;
    }

    // Follows a block of frames; whether its end is its start, each cycle moved on by its slope.
    bool follow_block(const State<Growing>& start, int64_t span, Block& block) {
        timing::horizon = kForever;
        if (!growing_) growing_ = std::make_unique<timing::Network<Growing>>(job_);
        growing_->load(start);
        block.tallies.resize(tallies_.size());
        for (size_t i = 0; i < tallies_.size(); ++i) block.tallies[i].high_water = tallies_[i].high_water;
        for (int64_t frame = 0; frame < span; ++frame) {
            if (!growing_->follow()) return false;
            const auto &in = growing_->input(), &out = growing_->output();
            block.first_in.push_back(in.at[0]);
            block.last_out.push_back(out.at[out.beats - 1]);
            if (job_.in_cycles != nullptr) block.in.insert(block.in.end(), in.at, in.at + in.beats);
            if (job_.out_cycles != nullptr) block.out.insert(block.out.end(), out.at, out.at + out.beats);
            growing_->tally(block.tallies, kForever);
            growing_->end_frame();
        }
        const State<Growing> end = growing_->save();
        for (size_t i = 0; i < end.times.size(); ++i) {
            const Growing from = start.times[i], to = end.times[i];
            if (to.slope != from.slope || to.value != from.value + from.slope) return false;
        }
        return end.numbers == start.numbers;
    }

    static void extend(int64_t* values, int64_t from, const std::vector<Growing>& cycles, int64_t block) {
        if (values == nullptr) return;
        for (size_t k = 0; k < cycles.size(); ++k) values[from + k] = cycles[k].value + block * cycles[k].slope;
    }

    Job& job_;
    timing::Network<int64_t> network_;
    std::unique_ptr<timing::Network<Growing>> growing_;
    std::vector<Tally<int64_t>> tallies_;
    Snapshot before_;
    std::deque<Snapshot> recent_;
    int64_t frame_ = 0, end_ = -1, patience_ = 1, next_try_ = 0, pause_ = 1;
    bool searching_ = true;
};

}  // namespace

extern "C" int64_t bitsiege_timing_run(Job* job) {
    try {
        return Run{*job}.follow();
    } catch (const std::bad_alloc&) {
        return timing::kMemory;
    }
}
