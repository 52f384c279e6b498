// AVX2: eight neurons in two registers; popcounts of bytes by table lookup, added up in bytes.
#include "gemm.hpp"
#include "gemm_bytes.hpp"
#include "draws.hpp"
#include "levels.hpp"

#include <immintrin.h>

namespace {

struct Pair {
  __m256i low;
  __m256i high;
};

inline __attribute__((always_inline)) __m256i byte_counts(__m256i bits) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                         0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(bits, nibble));
  const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bits, 4), nibble));
  return _mm256_add_epi8(low, high);
}

inline __m256i load_256(const void *address) { return _mm256_load_si256(static_cast<const __m256i *>(address)); }

inline __m256i load_unaligned(const void *address) {
  return _mm256_loadu_si256(static_cast<const __m256i *>(address));
}

inline uint8_t sign_bits(Pair lanes) {
  const int low = _mm256_movemask_pd(_mm256_castsi256_pd(lanes.low));
  const int high = _mm256_movemask_pd(_mm256_castsi256_pd(lanes.high));
  return static_cast<uint8_t>(low | high << 4);
}

// The low 64 bits of a product, which AVX2 has no instruction for.
inline __m256i multiply(__m256i a, __m256i b) {
  const __m256i low = _mm256_mul_epu32(a, b);
  const __m256i cross = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(a, 32), b),
                                         _mm256_mul_epu32(a, _mm256_srli_epi64(b, 32)));
  return _mm256_add_epi64(low, _mm256_slli_epi64(cross, 32));
}

struct Avx2 {
  using Weights = Pair;
  using Counts = Pair;
  using Sums = Pair;
  static constexpr int kRowBlock = 2;
  static constexpr int kGroupBlock = 2;
  static constexpr int64_t kWordsPerCounts = 31;  // a byte counts to 255, a word adds up to 8

  static Weights load(const uint64_t *words) { return {load_256(words), load_256(words + 4)}; }
  static Counts first(Weights w, uint64_t x) {
    const __m256i activation = _mm256_set1_epi64x(static_cast<int64_t>(x));
    return {byte_counts(_mm256_xor_si256(w.low, activation)), byte_counts(_mm256_xor_si256(w.high, activation))};
  }
  static Counts count(Counts counts, Weights w, uint64_t x) {
    const Counts more = first(w, x);
    return {_mm256_add_epi8(counts.low, more.low), _mm256_add_epi8(counts.high, more.high)};
  }
  static Sums sums(Counts counts) {
    const __m256i zero = _mm256_setzero_si256();
    return {_mm256_sad_epu8(counts.low, zero), _mm256_sad_epu8(counts.high, zero)};
  }
  static Sums add(Sums a, Sums b) { return {_mm256_add_epi64(a.low, b.low), _mm256_add_epi64(a.high, b.high)}; }
  static Sums twice(Sums a) { return add(a, a); }
  static Sums negate(Sums a) {
    const __m256i zero = _mm256_setzero_si256();
    return {_mm256_sub_epi64(zero, a.low), _mm256_sub_epi64(zero, a.high)};
  }
  static Pair above(Sums sums, const int64_t *limits) {
    return {_mm256_cmpgt_epi64(sums.low, load_256(limits)), _mm256_cmpgt_epi64(sums.high, load_256(limits + 4))};
  }
  static uint8_t at_most(Sums sums, const int64_t *limits) {
    return static_cast<uint8_t>(~sign_bits(above(sums, limits)));
  }
  static Sums start(int64_t value) { return {_mm256_set1_epi64x(value), _mm256_set1_epi64x(value)}; }
  static Sums count_at_most(Sums count, Sums sums, const int64_t *limits) {
    // A lane of `above` is -1 or 0: count + 1 + above.
    return add(add(count, above(sums, limits)), start(1));
  }
  static uint8_t bit(Sums value, int64_t plane) {
    const __m128i shift = _mm_cvtsi64_si128(63 - plane);
    return sign_bits({_mm256_sll_epi64(value.low, shift), _mm256_sll_epi64(value.high, shift)});
  }
  static void store(Sums sums, const int64_t *offset, const int64_t *factor, int64_t *out, int64_t lanes) {
    alignas(32) int64_t values[kLanes];
    const __m256i low = _mm256_sub_epi64(load_256(offset), multiply(sums.low, load_256(factor)));
    const __m256i high = _mm256_sub_epi64(load_256(offset + 4), multiply(sums.high, load_256(factor + 4)));
    _mm256_store_si256(reinterpret_cast<__m256i *>(values), low);
    _mm256_store_si256(reinterpret_cast<__m256i *>(values + 4), high);
    for (int64_t lane = 0; lane < lanes; ++lane) out[lane] = values[lane];
  }
};

constexpr int64_t kBytes = 64;

// The 64 bytes from `input`, of which only `count` are read; the rest is 0.
inline const uint8_t *padded(const uint8_t *input, int64_t count, uint8_t (&copy)[kBytes]) {
  if (count >= kBytes) return input;
  for (int64_t i = 0; i < kBytes; ++i) copy[i] = i < count ? input[i] : 0;
  return copy;
}

inline uint64_t top_bits(__m256i low, __m256i high) {
  const uint64_t first = static_cast<uint32_t>(_mm256_movemask_epi8(low));
  const uint64_t second = static_cast<uint32_t>(_mm256_movemask_epi8(high));
  return first | second << 32;
}

void pack_threshold(const bitsiege::PackThreshold &job) {
  const int64_t words = bitsiege::words_for(job.columns);
  uint8_t copy[kBytes];
  for (int64_t row = 0; row < job.rows; ++row) {
    for (int64_t k = 0; k < words; ++k) {
      const uint8_t *in = padded(job.input + row * job.columns + k * kBytes, job.columns - k * kBytes, copy);
      const uint8_t *limits = job.limits + k * kBytes;
      const __m256i low = load_unaligned(in);
      const __m256i high = load_unaligned(in + 32);
      // x >= limit, unsigned: the greater of both is x.
      const __m256i fires_low = _mm256_cmpeq_epi8(_mm256_max_epu8(low, load_256(limits)), low);
      const __m256i fires_high = _mm256_cmpeq_epi8(_mm256_max_epu8(high, load_256(limits + 32)), high);
      job.output[row * words + k] = top_bits(fires_low, fires_high) & job.mask[k];
    }
  }
}

void pack_bytes(const bitsiege::PackBytes &job) {
  const int64_t words = bitsiege::words_for(job.columns);
  uint8_t copy[kBytes];
  for (int64_t row = 0; row < job.rows; ++row) {
    for (int64_t k = 0; k < words; ++k) {
      const uint8_t *in = padded(job.input + row * job.columns + k * kBytes, job.columns - k * kBytes, copy);
      __m256i low = load_unaligned(in);
      __m256i high = load_unaligned(in + 32);
      uint64_t *out = job.output + row * 8 * words + k;
      for (int p = 7; p >= 0; --p) {
        out[p * words] = top_bits(low, high);
        low = _mm256_add_epi8(low, low);
        high = _mm256_add_epi8(high, high);
      }
    }
  }
}

// Products of four inputs with kByteLanes neurons. A pair of 16-bit products fits 32 bits whatever the bytes
// are, which the saturating instruction for bytes does not promise; so bytes 0 and 2 of a neuron make one pair,
// bytes 1 and 3 the other.
template <int kRows>
void byte_tile(const bitsiege::ByteGemm &job, int64_t row, int64_t group) {
  constexpr int kHalves = 2;
  const uint8_t *x = job.input + row * job.row_bytes;
  const int8_t *w = job.weights + group * job.quads * kBytes;
  __m256i sums[kRows][kHalves];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) sums[i][0] = sums[i][1] = _mm256_setzero_si256();
  for (int64_t q = 0; q < job.quads; ++q, w += kBytes) {
    __m256i even[kHalves], odd[kHalves];
#pragma GCC unroll 2
    for (int h = 0; h < kHalves; ++h) {
      const __m256i weights = load_256(w + h * 32);
      even[h] = _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8);
      odd[h] = _mm256_srai_epi16(weights, 8);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      uint32_t four;
      __builtin_memcpy(&four, x + i * job.row_bytes + q * 4, sizeof four);
      const __m256i first = _mm256_set1_epi32(static_cast<int>(four & 0x00ff00ff));
      const __m256i second = _mm256_set1_epi32(static_cast<int>(four >> 8 & 0x00ff00ff));
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const __m256i products =
            _mm256_add_epi32(_mm256_madd_epi16(first, even[h]), _mm256_madd_epi16(second, odd[h]));
        sums[i][h] = _mm256_add_epi32(sums[i][h], products);
      }
    }
  }
  const bool one_bit = job.levels == 1 && job.out_planes == 1 && job.first_value == 0;
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    if (one_bit) {
      const int32_t *limits = job.limits + group * kByteLanes;
      uint8_t *out = reinterpret_cast<uint8_t *>(job.out_bits) + (row + i) * job.out_row + group * 2;
#pragma GCC unroll 2
      for (int h = 0; h < kHalves; ++h) {
        const __m256i below = _mm256_cmpgt_epi32(load_256(limits + h * 8), sums[i][h]);
        out[h] = static_cast<uint8_t>(~_mm256_movemask_ps(_mm256_castsi256_ps(below)));
      }
      continue;
    }
    alignas(32) int32_t values[kByteLanes];
    _mm256_store_si256(reinterpret_cast<__m256i *>(values), sums[i][0]);
    _mm256_store_si256(reinterpret_cast<__m256i *>(values + 8), sums[i][1]);
    finish_bytes(job, values, row + i, group);
  }
}

void gemm_bytes(const bitsiege::ByteGemm &job) {
  constexpr int kRows = 4;
  const int64_t groups = (job.neurons + kByteLanes - 1) / kByteLanes;
  for (int64_t group = 0; group < groups; ++group) {
    int64_t row = 0;
    for (; row + kRows <= job.rows; row += kRows) byte_tile<kRows>(job, row, group);
    for (; row < job.rows; ++row) byte_tile<1>(job, row, group);
  }
}

struct Compare {
  static constexpr int kPairs = 2;
  // What the two halves of a register hold after words were interleaved there.
  static constexpr Blocks kOrder = {0, 1, 4, 5, 2, 3, 6, 7, 0, 1, 4, 5, 2, 3, 6, 7};
  static void below(const Blocks &low, const Blocks &high, const uint8_t *limits, uint64_t *out) {
    const auto *lows = reinterpret_cast<const __m256i *>(&low);
    const auto *highs = reinterpret_cast<const __m256i *>(&high);
#pragma GCC unroll 2
    for (int row = 0; row < 2; ++row, limits += kBytes) {
      const __m256i first = _mm256_unpacklo_epi32(lows[row], highs[row]);
      const __m256i second = _mm256_unpackhi_epi32(lows[row], highs[row]);
      // Not below: the greater of both is x.
      out[row] = ~top_bits(_mm256_cmpeq_epi8(_mm256_max_epu8(first, load_256(limits)), first),
                           _mm256_cmpeq_epi8(_mm256_max_epu8(second, load_256(limits + 32)), second));
    }
  }
};

int64_t limit(int64_t iterations) {
  constexpr int kAccumulators = 4;
  constexpr int kInner = 31;
  __m256i sums[kAccumulators];
  __m256i w[2] = {_mm256_set1_epi64x(1), _mm256_set1_epi64x(2)};
  __m256i x[2] = {_mm256_set1_epi64x(3), _mm256_set1_epi64x(5)};
  for (__m256i &sum : sums) sum = _mm256_setzero_si256();
  for (int64_t n = 0; n < iterations; ++n) {
    __m256i counts[kAccumulators];
    for (__m256i &count : counts) count = _mm256_setzero_si256();
    for (int k = 0; k < kInner; ++k) {
#pragma GCC unroll 4
      for (int i = 0; i < kAccumulators; ++i)
        counts[i] = _mm256_add_epi8(counts[i], byte_counts(_mm256_xor_si256(w[i / 2], x[i % 2])));
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) asm volatile("" : "+x"(w[i]), "+x"(x[i]));
    }
#pragma GCC unroll 4
    for (int i = 0; i < kAccumulators; ++i) {
      sums[i] = _mm256_add_epi64(sums[i], _mm256_sad_epu8(counts[i], _mm256_setzero_si256()));
      asm volatile("" : "+x"(sums[i]));
    }
  }
  return kAccumulators * kInner * 256;
}

}  // namespace

const bitsiege::Kernels bitsiege::kAvx2Kernels = {gemm<Avx2>, gemm_bytes, pack_threshold, pack_bytes, pack_levels<Avx2>,
                                                 draw<Compare>, limit};
