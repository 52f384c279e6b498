// ±1 weights drawn for one frame by Threefry-2x32 with 13 rounds, as export/draws.py describes it, for any
// instruction set. `Compare::below(bytes, limits)` returns a bit for each of 64 bytes that is below its limit.
#pragma once

#include "kernel.hpp"

namespace {

// A vector of GCC and Clang: two rows' worth of eight blocks.
typedef uint32_t Blocks __attribute__((vector_size(64)));
constexpr int kBlocksPerWord = 8;
constexpr int kPairs = bitsiege::kLanes / 2;

struct ThreefryKey {
  uint32_t words[3];
};

template <int kTurn>
inline __attribute__((always_inline)) void mix(Blocks (&low)[kPairs], Blocks (&high)[kPairs]) {
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
    low[i] += high[i];
    high[i] = (high[i] << kTurn | high[i] >> (32 - kTurn)) ^ low[i];
  }
}

template <int kInjection>
inline __attribute__((always_inline)) void inject(const ThreefryKey &key, Blocks (&low)[kPairs],
                                                  Blocks (&high)[kPairs]) {
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
    low[i] += key.words[kInjection % 3];
    high[i] += key.words[(kInjection + 1) % 3] + kInjection;
  }
}

// The counter in, random bits out.
inline __attribute__((always_inline)) void threefry(const ThreefryKey &key, Blocks (&low)[kPairs],
                                                    Blocks (&high)[kPairs]) {
  inject<0>(key, low, high);
  mix<13>(low, high), mix<15>(low, high), mix<26>(low, high), mix<6>(low, high), inject<1>(key, low, high);
  mix<17>(low, high), mix<29>(low, high), mix<16>(low, high), mix<24>(low, high), inject<2>(key, low, high);
  mix<13>(low, high), mix<15>(low, high), mix<26>(low, high), mix<6>(low, high), inject<3>(key, low, high);
  mix<17>(low, high);
}

// Word k of kLanes neurons, from `row` on.
template <class Compare>
inline void draw_word(const bitsiege::Draw &job, const ThreefryKey &key, uint32_t row, int64_t k,
                      const uint8_t *limits, uint64_t *out) {
  constexpr Blocks kIndex = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
  constexpr Blocks kSecondRow = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  constexpr Blocks kFirstHalf = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  constexpr Blocks kSecondHalf = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const uint32_t row_blocks = static_cast<uint32_t>(job.row_blocks);
  const uint32_t first = row * row_blocks + static_cast<uint32_t>(job.first_block[k]);
  Blocks low[kPairs], high[kPairs];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < kPairs; ++i) {
    low[i] = kIndex + kSecondRow * row_blocks + (first + 2 * i * row_blocks);
    high[i] = Blocks{} + job.frame;
  }
  threefry(key, low, high);
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
    const Blocks rows[2] = {__builtin_shuffle(low[i], high[i], kFirstHalf),
                            __builtin_shuffle(low[i], high[i], kSecondHalf)};
    for (int lane = 0; lane < 2; ++lane) {
      const uint8_t *bytes = reinterpret_cast<const uint8_t *>(&rows[lane]);
      out[2 * i + lane] = Compare::below(bytes, limits + (2 * i + lane) * bitsiege::kWordBits);
    }
  }
}

template <class Compare>
void draw(const bitsiege::Draw &job) {
  constexpr uint32_t kParity = 0x1bd11bda;
  constexpr int64_t kStep = bitsiege::kLanes * bitsiege::kWordBits;
  const ThreefryKey key{{job.seed, job.layer, kParity ^ job.seed ^ job.layer}};
  const uint8_t *limits = job.limits;
  uint64_t *out = job.weights;
  for (int64_t row = 0; row < job.neurons; row += bitsiege::kLanes) {
    for (int64_t k = 0; k < job.words; ++k, limits += kStep, out += bitsiege::kLanes)
      draw_word<Compare>(job, key, static_cast<uint32_t>(job.first_row + row), k, limits, out);
  }
}

}  // namespace
