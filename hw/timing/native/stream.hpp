// The stream between two modules: when each beat of a frame was offered, and when it moved.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "times.hpp"

namespace timing {

// Index k is a beat of the frame that is followed; negative ones are the last beats of the frames before.
template <class T>
struct Stream {
    int64_t beats = 0;                   // of a frame
    int64_t past = 1;                    // beats of earlier frames that are kept
    int64_t offered = 0, moved = 0;      // beats of this frame of which these cycles are known
    int64_t producer = -1, consumer = -1;
    // Offers are cycles, or cycles after the beat before has moved: a stalled pipeline moves on only then.
    bool paced = false;
    T* offer = nullptr;
    T* at = nullptr;

    void keep(int64_t count) { past = std::max(past, count); }

    void allocate() {
        offers_.assign(beats, T{0});
        cycles_.assign(past + beats, T{-1});
        offer = offers_.data();
        at = cycles_.data() + past;
    }

    // First cycle in which tvalid is high with beat k; it needs the cycle in which the beat before moves.
    T valid(int64_t k) const { return paced ? at[k - 1] + offer[k] : larger(offer[k], at[k - 1] + 1); }

    void end_frame() {
        std::copy(cycles_.end() - past, cycles_.end(), cycles_.begin());
        offered = moved = 0;
    }

private:
    std::vector<T> offers_, cycles_;
};

}  // namespace timing
