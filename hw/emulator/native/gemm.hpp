// The register-blocked product, for any instruction set.
//
// `Vector` describes kLanes 64-bit lanes, one neuron each:
//   Counts, kWordsPerCounts     running popcounts, and how many words they can take before they overflow
//   Sums                        64-bit sums
//   Weights load(const uint64_t *)
//   Counts first(Weights, uint64_t x)           popcount(w ^ x)
//   Counts count(Counts, Weights, uint64_t x)   the same, added
//   Sums sums(Counts)
//   Sums add(Sums, Sums), twice(Sums), negate(Sums)
//   uint8_t at_most(Sums, const int64_t *limits)            bit per lane: sum <= limit
//   Sums start(int64_t), Sums count_at_most(Sums count, Sums, const int64_t *limits), uint8_t bit(Sums, plane)
//   void store(Sums, const int64_t *offset, const int64_t *factor, int64_t *out, int64_t lanes)
// It must be a type of an unnamed namespace, so that each translation unit keeps its own instantiation.
#pragma once

#include "kernel.hpp"

namespace {

using bitsiege::Gemm;
using bitsiege::kLanes;

template <class Vector, int kRows, int kGroups>
struct Tile {
  using Sums = typename Vector::Sums;
  using Counts = typename Vector::Counts;

  // popcount(w ^ x) over one bit plane, for kRows rows and kGroups groups of neurons.
  static inline __attribute__((always_inline)) void plane(Sums (&sums)[kRows][kGroups], const uint64_t *x,
                                                          int64_t row_words, const uint64_t *w, int64_t words) {
    int64_t begin = 0;
    do {
      const int64_t rest = words - begin;
      const int64_t end = rest > Vector::kWordsPerCounts ? begin + Vector::kWordsPerCounts : words;
      Counts counts[kRows][kGroups];
      step<true>(counts, x, row_words, w, words, begin);
      for (int64_t k = begin + 1; k < end; ++k) step<false>(counts, x, row_words, w, words, k);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
        for (int g = 0; g < kGroups; ++g) {
          const Sums part = Vector::sums(counts[i][g]);
          sums[i][g] = begin == 0 ? part : Vector::add(sums[i][g], part);
        }
      }
      begin = end;
    } while (begin < words);
  }

  template <bool kFirst>
  static inline __attribute__((always_inline)) void step(Counts (&counts)[kRows][kGroups], const uint64_t *x,
                                                         int64_t row_words, const uint64_t *w, int64_t words,
                                                         int64_t k) {
    typename Vector::Weights weights[kGroups];
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) weights[g] = Vector::load(w + (g * words + k) * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const uint64_t activation = x[i * row_words + k];
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        counts[i][g] = kFirst ? Vector::first(weights[g], activation)
                              : Vector::count(counts[i][g], weights[g], activation);
      }
    }
  }

  static inline __attribute__((always_inline)) void finish(const Gemm &job, const Sums (&sums)[kRows][kGroups],
                                                           int64_t row, int64_t group,
                                                           const int64_t (&shifts)[kRows]) {
    const int64_t lanes = (job.neurons + kLanes - 1) / kLanes * kLanes;
    const int64_t plane_bytes = bitsiege::words_for(job.neurons) * 8;
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) {
      const int64_t neuron = (group + g) * kLanes;
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        if (job.levels == 0) {
          const int64_t rest = job.neurons - neuron;
          Vector::store(sums[i][g], job.offset + shifts[i] + neuron, job.factor + neuron,
                        job.out_integers + (row + i) * job.out_row + neuron, rest < kLanes ? rest : kLanes);
          continue;
        }
        uint8_t *out = reinterpret_cast<uint8_t *>(job.out_bits) + (row + i) * job.out_row + group + g;
        Sums value = Vector::start(job.first_value);
        for (int64_t level = 0; level < job.levels; ++level)
          value = Vector::count_at_most(value, sums[i][g], job.limits + shifts[i] + level * lanes + neuron);
        const int64_t rest = job.neurons - neuron;
        const uint8_t valid = static_cast<uint8_t>(rest < kLanes ? (1 << rest) - 1 : 0xff);
        for (int64_t plane = 0; plane < job.out_planes; ++plane)
          out[plane * plane_bytes] = static_cast<uint8_t>(Vector::bit(value, plane) & valid);
      }
    }
  }

  static void planes(const Gemm &job, int64_t row, int64_t group) {
    const uint64_t *x = job.input + row * job.row_words;
    const uint64_t *w = job.weights + group * job.words * kLanes;
    Sums total[kRows][kGroups];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) total[i][g] = Vector::start(0);
    }
    for (int64_t p = job.planes - 1; p >= 0; --p) {
      const bool negative = job.top_negative && p == job.planes - 1;
      Sums sums[kRows][kGroups];
      plane(sums, x + p * job.words, job.row_words, w, job.words);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
        for (int g = 0; g < kGroups; ++g) {
          const Sums part = negative ? Vector::negate(sums[i][g]) : sums[i][g];
          total[i][g] = Vector::add(Vector::twice(total[i][g]), part);
        }
      }
    }
    const int64_t shifts[kRows] = {};
    finish(job, total, row, group, shifts);
  }

  // One plane in, integers out.
  static void integers(const Gemm &job, int64_t row, int64_t group) {
    Sums sums[kRows][kGroups];
    plane(sums, job.input + row * job.row_words, job.row_words, job.weights + group * job.words * kLanes, job.words);
    const int64_t neuron = group * kLanes;
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) {
      const int64_t rest = job.neurons - neuron - g * kLanes;
      const int64_t lanes = rest < kLanes ? rest : kLanes;
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i)
        Vector::store(sums[i][g], job.offset + neuron + g * kLanes, job.factor + neuron + g * kLanes,
                      job.out_integers + (row + i) * job.out_row + neuron + g * kLanes, lanes);
    }
  }

  // One plane in, one threshold a neuron: the bits go straight into the next layer's words.
  static void bits(const Gemm &job, int64_t row, int64_t group) {
    Sums sums[kRows][kGroups];
    plane(sums, job.input + row * job.row_words, job.row_words, job.weights + group * job.words * kLanes, job.words);
    uint8_t *out = reinterpret_cast<uint8_t *>(job.out_bits) + row * job.out_row + group;
    const int64_t *limits = job.limits + group * kLanes;
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g)
        out[i * job.out_row + g] = Vector::at_most(sums[i][g], limits + g * kLanes);
    }
  }

  // popcount(w ^ x) over kRows windows.
  static inline __attribute__((always_inline)) void window_plane(const Gemm &job, Sums (&sums)[kRows][kGroups],
                                                                 const uint64_t *const (&x)[kRows],
                                                                 const uint64_t *w) {
    Counts counts[kRows][kGroups];
    each(sums, [](Sums &sum) { sum = Vector::start(0); });
    each(counts, [](Counts &count) { count = Vector::start(0); });
    int64_t used = 0;
    for (int64_t s = 0, k = 0; s < job.segment_count; ++s) {
      const int64_t begin = job.segments[s];
      for (int64_t j = begin; j < begin + job.segment_words; ++j, ++k) {
        if (Vector::kWordsPerCounts != INT64_MAX && used++ == Vector::kWordsPerCounts) {
          drain(sums, counts);
          used = 1;
        }
        window_step(counts, x, w, job.words, j, k);
      }
    }
    drain(sums, counts);
  }

  template <class Values, class Use>
  static inline __attribute__((always_inline)) void each(Values (&values)[kRows][kGroups], Use use) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) use(values[i][g]);
    }
  }

  static inline __attribute__((always_inline)) void drain(Sums (&sums)[kRows][kGroups],
                                                          Counts (&counts)[kRows][kGroups]) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        sums[i][g] = Vector::add(sums[i][g], Vector::sums(counts[i][g]));
        counts[i][g] = Vector::start(0);
      }
    }
  }

  static inline __attribute__((always_inline)) void window_step(Counts (&counts)[kRows][kGroups],
                                                                const uint64_t *const (&x)[kRows],
                                                                const uint64_t *w, int64_t words, int64_t from,
                                                                int64_t k) {
    typename Vector::Weights weights[kGroups];
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) weights[g] = Vector::load(w + (g * words + k) * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const uint64_t activation = x[i][from];
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) counts[i][g] = Vector::count(counts[i][g], weights[g], activation);
    }
  }

  // Windows of one plane, with limits or offsets of their own.
  static void windows(const Gemm &job, int64_t row, int64_t group) {
    const uint64_t *x[kRows];
    int64_t shifts[kRows];
    int64_t image = static_cast<uint32_t>(row) / static_cast<uint32_t>(job.pixels);
    int64_t pixel = row - image * job.pixels;
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      x[i] = job.input + image * job.image_words + job.starts[pixel];
      shifts[i] = job.shifts[pixel];
      if (++pixel == job.pixels) {
        pixel = 0;
        ++image;
      }
    }
    Sums sums[kRows][kGroups];
    window_plane(job, sums, x, job.weights + group * job.words * kLanes);
    if (job.levels != 1 || job.out_planes != 1 || job.first_value != 0) return finish(job, sums, row, group, shifts);
    uint8_t *out = reinterpret_cast<uint8_t *>(job.out_bits) + row * job.out_row + group;
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const int64_t *limits = job.limits + shifts[i] + group * kLanes;
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g)
        out[i * job.out_row + g] = Vector::at_most(sums[i][g], limits + g * kLanes);
    }
  }
};

// Brings one slice of the next input towards the core for each tile of this one.
class Prefetcher {
 public:
  Prefetcher(const Gemm &job, int64_t tiles)
      : next_(job.next_input), end_(job.next_input + job.next_bytes), bytes_(job.next_bytes / tiles / 64 * 64 + 64) {}

  inline __attribute__((always_inline)) void step() {
    if (next_ == nullptr) return;
    for (const uint8_t *stop = next_ + bytes_; next_ < stop && next_ < end_; next_ += 64)
      __builtin_prefetch(next_, 0, 2);
  }

 private:
  const uint8_t *next_;
  const uint8_t *end_;
  int64_t bytes_;
};

template <class Vector, int kRows, int kGroups>
auto choose_tile(const Gemm &job) {
  using Chosen = Tile<Vector, kRows, kGroups>;
  if (job.pixels > 0) return Chosen::windows;
  const bool one_plane = job.planes == 1 && !job.top_negative;
  if (one_plane && job.levels == 0) return Chosen::integers;
  const bool one_threshold = job.levels == 1 && job.out_planes == 1 && job.first_value == 0;
  return one_plane && one_threshold ? Chosen::bits : Chosen::planes;
}

template <class Vector, int kGroups>
void gemm_groups(const Gemm &job, int64_t group, Prefetcher &prefetcher) {
  constexpr int kRows = Vector::kRowBlock;
  const auto tile = choose_tile<Vector, kRows, kGroups>(job);
  int64_t row = 0;
  for (; row + kRows <= job.rows; row += kRows) {
    prefetcher.step();
    tile(job, row, group);
  }
  const auto single = choose_tile<Vector, 1, kGroups>(job);
  for (; row < job.rows; ++row) single(job, row, group);
}

template <class Vector, int kGroups>
void gemm_rest(const Gemm &job, int64_t group, int64_t rest, Prefetcher &prefetcher) {
  if constexpr (kGroups > 0) {
    if (rest == kGroups)
      gemm_groups<Vector, kGroups>(job, group, prefetcher);
    else
      gemm_rest<Vector, kGroups - 1>(job, group, rest, prefetcher);
  }
}

template <class Vector>
void gemm(const Gemm &job) {
  constexpr int kGroups = Vector::kGroupBlock;
  const int64_t groups = (job.neurons + kLanes - 1) / kLanes;
  const int64_t tiles = (groups + kGroups - 1) / kGroups * (job.rows / Vector::kRowBlock + 1);
  Prefetcher prefetcher(job, tiles);
  int64_t group = 0;
  for (; group + kGroups <= groups; group += kGroups) gemm_groups<Vector, kGroups>(job, group, prefetcher);
  gemm_rest<Vector, kGroups - 1>(job, group, groups - group, prefetcher);
}

}  // namespace
