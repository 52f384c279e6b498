// The modules of convolutions: padding, sliding windows, pooling; hw/timing/windows.py clocks the same ones.
//
// The output of each waits in one register, so a beat is offered in the cycle after the one in which it is written, and
// is written at the earliest when the one before leaves.
#pragma once

#include <cstdint>
#include <vector>

#include "modules.hpp"

namespace timing {

// Output beats that were written until `end`.
template <class T>
int64_t written_until(const Stream<T>& out, int64_t end) {
    if (end >= kForever) return out.beats;
    int64_t count = 0;
    for (int64_t k = 0; k < out.beats; ++k) count += value_of(out.valid(k)) - 1 <= end;
    return count;
}

// bnn_fmpadding: border beats need no input, but the first beat of a frame needs its first pixel to be there.
template <class T>
class Padding : public Module<T> {
public:
    Padding(Stream<T>& in, Stream<T>& out, const int64_t* p) : in_{in}, out_{out}, source_(out.beats, -1) {
        const int64_t row_beats = p[0];
        for (int64_t w = 0; w < out.beats; ++w) {
            const int64_t x = w % row_beats, y = w / row_beats;
            if (x < p[2] || x >= p[3] || y < p[4] || y >= p[5]) continue;
            source_[w] = static_cast<int64_t>(target_.size());
            target_.push_back(w);
        }
        if (source_[0] < 0) source_[0] = 0;
    }

    unsigned step() override {
        unsigned found = kNothing;
        while (in_.moved < in_.offered && target_[in_.moved] <= out_.moved) {
            const int64_t k = in_.moved++;
            in_.at[k] = larger(in_.valid(k), out_.at[target_[k] - 1]);
            found |= kMoved;
        }
        while (out_.offered < out_.beats) {
            const int64_t k = source_[out_.offered];
            if (k >= 0 && (k >= in_.offered || k > in_.moved)) break;
            out_.offer[out_.offered++] = k < 0 ? T{-1} : in_.valid(k) + 1;
            found |= kOffered;
        }
        return found;
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        tally.busy += T{written_until(out_, end)};
        tally.blocked += waits(out_, end);
    }

private:
    Stream<T>&in_, &out_;
    std::vector<int64_t> source_;  // input beat that an output beat needs, or -1
    std::vector<int64_t> target_;  // output beat that an input beat becomes
};

// bnn_swg: a window's beats are read one by one; with the last one, what no later window needs is dropped.
template <class T>
class Window : public Module<T> {
public:
    // p: as in job.hpp.
    Window(Stream<T>& in, Stream<T>& out, const int64_t* p)
        : in_{in}, out_{out}, reads_{p[1] * p[2] * p[11]}, windows_{p[3] * p[4]} {
        std::vector<int64_t> dropped;  // beats of the frame, after each window
        int64_t base = 0;
        for (int64_t window = 0; window < windows_; ++window) {
            for (int64_t group = 0; group < p[11]; ++group) {
                for (int64_t read = 1, offset = group * p[9]; read <= p[1] * p[2]; ++read) {
                    need_.push_back(base + offset);
                    offset += read % p[1] == 0 ? p[5] : read % p[9] == 0 ? p[10] : 1;
                }
            }
            base += (window + 1) % p[3] != 0 ? p[6] : window + 1 < windows_ ? p[7] : p[8];
            dropped.push_back(base);
        }
        // The first window after which a beat has room; windows of earlier frames are negative.
        auto dropped_after = [&](int64_t w) {
            const int64_t frames = w >= 0 ? 0 : (windows_ - 1 - w) / windows_;
            return dropped[w + frames * windows_] - frames * in.beats;
        };
        int64_t window = 0;
        while (dropped_after(window - 1) >= 1 - p[0]) --window;
        past_ = std::max<int64_t>(1, -window);
        for (int64_t k = 0; k < in.beats; ++k) {
            while (dropped_after(window) < k + 1 - p[0]) ++window;
            room_.push_back(window);
        }
        freed_.assign(past_ + windows_, T{-1});
    }

    unsigned step() override {
        unsigned found = kNothing;
        while (const unsigned more = pass()) found |= more;
        return found & (kMoved | kOffered);
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        tally.busy += T{written_until(out_, end)};
        tally.blocked += waits(out_, end);
    }

    void end_frame() override {
        std::copy(freed_.end() - past_, freed_.end(), freed_.begin());
        done_ = 0;
    }

    void save(State<T>& state) const override {
        state.times.insert(state.times.end(), freed_.begin(), freed_.begin() + past_);
    }

    void load(Reader<T>& reader) override {
        for (int64_t i = 0; i < past_; ++i) freed_[i] = reader.next_time();
    }

private:
    unsigned pass() {
        unsigned found = kNothing;
        while (in_.moved < in_.offered && room_[in_.moved] < done_) {
            const int64_t k = in_.moved++;
            in_.at[k] = larger(in_.valid(k), freed_[past_ + room_[k]]);
            found |= kMoved;
        }
        while (out_.offered < out_.beats && need_[out_.offered] < in_.moved) {
            out_.offer[out_.offered] = in_.at[need_[out_.offered]] + 2;
            ++out_.offered;
            found |= kOffered;
        }
        // The last beat of a window is read in the cycle before the one in which it is offered.
        for (int64_t last = (done_ + 1) * reads_ - 1;
             done_ < windows_ && last < out_.offered && last <= out_.moved; last += reads_) {
            freed_[past_ + done_++] = out_.valid(last);
            found |= 4;
        }
        return found;
    }

    Stream<T>&in_, &out_;
    int64_t reads_, windows_, past_ = 1;
    std::vector<int64_t> need_;  // input beat that is read
    std::vector<int64_t> room_;  // window that has to be read before an input beat has room
    std::vector<T> freed_;       // first cycle in which there is room after a window
    int64_t done_ = 0;           // windows of this frame of which that is known
};

// bnn_pool: one output beat with each beat of a window's last pixel.
template <class T>
class Pool : public Module<T> {
public:
    Pool(Stream<T>& in, Stream<T>& out, int64_t window_beats, int64_t silent_beats)
        : in_{in}, out_{out}, window_beats_{window_beats}, silent_beats_{silent_beats} {}

    unsigned step() override {
        unsigned found = kNothing;
        while (in_.moved < in_.offered && out_.offered <= out_.moved) {
            const int64_t k = in_.moved++;
            in_.at[k] = larger(in_.valid(k), out_.at[out_.offered - 1]);
            found |= kMoved;
            if (++taken_ > silent_beats_) {
                out_.offer[out_.offered++] = in_.at[k] + 1;
                found |= kOffered;
            }
            if (taken_ == window_beats_) taken_ = 0;
        }
        return found;
    }

    void tally(Tally<T>& tally, int64_t end) const override {
        tally.busy += T{moved_until(in_, end)};
        tally.blocked += waits(out_, end);
    }

private:
    Stream<T>&in_, &out_;
    int64_t window_beats_, silent_beats_;
    int64_t taken_ = 0;  // beats of the window
};

}  // namespace timing
