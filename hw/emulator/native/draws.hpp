// ±1 weights drawn for one frame by Threefry-2x32 with 13 rounds, as export/draws.py describes it, for any
// instruction set.
//
// `Compare` describes how 64 random bytes become a word:
//   kPairs                                        pairs of neurons at a time, as many as registers hold
//   kOrder                                        the block of a word that each lane holds
//   void below(Blocks low, Blocks high, limits, out)   two words: a bit for each byte that is below its limit
#pragma once

#include "kernel.hpp"

namespace {

// A vector of GCC and Clang: two rows' worth of eight blocks.
typedef uint32_t Blocks __attribute__((vector_size(64)));
constexpr int kBlocksPerWord = 8;

struct ThreefryKey {
  uint32_t words[3];
};

template <int kTurn, int kPairs>
inline __attribute__((always_inline)) void mix(Blocks (&low)[kPairs], Blocks (&high)[kPairs]) {
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
    low[i] += high[i];
    high[i] = (high[i] << kTurn | high[i] >> (32 - kTurn)) ^ low[i];
  }
}

template <int kInjection, int kPairs>
inline __attribute__((always_inline)) void inject(const ThreefryKey &key, Blocks (&low)[kPairs],
                                                  Blocks (&high)[kPairs]) {
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
    low[i] += key.words[kInjection % 3];
    high[i] += key.words[(kInjection + 1) % 3] + kInjection;
  }
}

// The counter in, random bits out.
template <int kPairs>
inline __attribute__((always_inline)) void threefry(const ThreefryKey &key, Blocks (&low)[kPairs],
                                                    Blocks (&high)[kPairs]) {
  inject<0>(key, low, high);
  mix<13>(low, high), mix<15>(low, high), mix<26>(low, high), mix<6>(low, high), inject<1>(key, low, high);
  mix<17>(low, high), mix<29>(low, high), mix<16>(low, high), mix<24>(low, high), inject<2>(key, low, high);
  mix<13>(low, high), mix<15>(low, high), mix<26>(low, high), mix<6>(low, high), inject<3>(key, low, high);
  mix<17>(low, high);
}

// Word k of some neurons, from `row` on.
template <class Compare>
inline __attribute__((always_inline)) void draw_words(const bitsiege::Draw &job, const ThreefryKey &key, uint32_t row,
                                                      int64_t k, const uint8_t *limits, uint64_t *out) {
  constexpr int kPairs = Compare::kPairs;
  constexpr Blocks kSecondRow = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const uint32_t row_blocks = static_cast<uint32_t>(job.row_blocks);
  const uint32_t first = row * row_blocks + static_cast<uint32_t>(job.first_block[k]);
  Blocks low[kPairs], high[kPairs];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < kPairs; ++i) {
    low[i] = Compare::kOrder + kSecondRow * row_blocks + (first + 2 * i * row_blocks);
    high[i] = Blocks{} + job.frame;
  }
  threefry(key, low, high);
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i)
    Compare::below(low[i], high[i], limits + 2 * i * bitsiege::kWordBits, out + 2 * i);
}

template <class Compare>
void draw(const bitsiege::Draw &job) {
  constexpr uint32_t kParity = 0x1bd11bda;
  constexpr int64_t kRows = 2 * Compare::kPairs;
  const ThreefryKey key{{job.seed, job.layer, kParity ^ job.seed ^ job.layer}};
  const uint8_t *limits = job.limits;
  uint64_t *out = job.weights;
  for (int64_t row = 0; row < job.neurons; row += bitsiege::kLanes) {
    for (int64_t k = 0; k < job.words; ++k) {
      for (int64_t lane = 0; lane < bitsiege::kLanes; lane += kRows, limits += kRows * bitsiege::kWordBits, out += kRows)
        draw_words<Compare>(job, key, static_cast<uint32_t>(job.first_row + row + lane), k, limits, out);
    }
  }
}

}  // namespace
