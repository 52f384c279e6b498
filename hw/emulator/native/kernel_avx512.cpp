// AVX-512 with VPOPCNTDQ: eight neurons a register, three instructions for 512 multiply-accumulates.
#include "gemm.hpp"
#include "gemm_bytes.hpp"
#include "draws.hpp"
#include "levels.hpp"

#include <immintrin.h>

namespace {

struct Avx512 {
  using Weights = __m512i;
  using Counts = __m512i;
  using Sums = __m512i;
  static constexpr int kRowBlock = 4;
  static constexpr int kGroupBlock = 4;
  static constexpr int64_t kWordsPerCounts = INT64_MAX;

  static Weights load(const uint64_t *words) { return _mm512_load_si512(words); }
  static Counts first(Weights w, uint64_t x) {
    return _mm512_popcnt_epi64(_mm512_xor_si512(w, _mm512_set1_epi64(static_cast<int64_t>(x))));
  }
  static Counts count(Counts counts, Weights w, uint64_t x) { return _mm512_add_epi64(counts, first(w, x)); }
  static Sums sums(Counts counts) { return counts; }
  static Sums add(Sums a, Sums b) { return _mm512_add_epi64(a, b); }
  static Sums twice(Sums a) { return add(a, a); }
  static Sums negate(Sums a) { return _mm512_sub_epi64(_mm512_setzero_si512(), a); }
  static uint8_t at_most(Sums sums, const int64_t *limits) {
    return _cvtmask8_u32(_mm512_cmple_epi64_mask(sums, _mm512_load_si512(limits)));
  }
  static Sums start(int64_t value) { return _mm512_set1_epi64(value); }
  static Sums count_at_most(Sums count, Sums sums, const int64_t *limits) {
    const __mmask8 fires = _mm512_cmple_epi64_mask(sums, _mm512_load_si512(limits));
    return _mm512_mask_add_epi64(count, fires, count, _mm512_set1_epi64(1));
  }
  static uint8_t bit(Sums value, int64_t plane) {
    return _cvtmask8_u32(_mm512_test_epi64_mask(value, _mm512_set1_epi64(int64_t{1} << plane)));
  }
  static void store(Sums sums, const int64_t *offset, const int64_t *factor, int64_t *out, int64_t lanes) {
    const __m512i scaled = _mm512_mullo_epi64(sums, _mm512_load_si512(factor));
    const __m512i value = _mm512_sub_epi64(_mm512_load_si512(offset), scaled);
    _mm512_mask_storeu_epi64(out, static_cast<__mmask8>((1u << lanes) - 1), value);
  }
};

constexpr int64_t kBytes = 64;

template <bool kAllCanFire>
void pack_threshold_rows(const bitsiege::PackThreshold &job) {
  const int64_t words = bitsiege::words_for(job.columns);
  const int64_t whole = job.columns / kBytes;
  const __mmask64 tail = (uint64_t{1} << (job.columns % kBytes)) - 1;
  for (int64_t row = 0; row < job.rows; ++row) {
    const uint8_t *in = job.input + row * job.columns;
    uint64_t *out = job.output + row * words;
    for (int64_t k = 0; k < whole; ++k) {
      const __m512i x = _mm512_loadu_si512(in + k * kBytes);
      const __m512i limit = _mm512_load_si512(job.limits + k * kBytes);
      out[k] = kAllCanFire ? _mm512_cmpge_epu8_mask(x, limit)
                           : _mm512_mask_cmpge_epu8_mask(job.mask[k], x, limit);
    }
    if (tail != 0) {
      const __m512i x = _mm512_maskz_loadu_epi8(tail, in + whole * kBytes);
      const __m512i limit = _mm512_load_si512(job.limits + whole * kBytes);
      out[whole] = _mm512_mask_cmpge_epu8_mask(job.mask[whole], x, limit);
    }
  }
}

void pack_threshold(const bitsiege::PackThreshold &job) {
  job.all_can_fire ? pack_threshold_rows<true>(job) : pack_threshold_rows<false>(job);
}

void pack_bytes(const bitsiege::PackBytes &job) {
  const int64_t words = bitsiege::words_for(job.columns);
  for (int64_t row = 0; row < job.rows; ++row) {
    const uint8_t *in = job.input + row * job.columns;
    uint64_t *out = job.output + row * 8 * words;
    for (int64_t k = 0; k < words; ++k) {
      const int64_t rest = job.columns - k * kBytes;
      const __mmask64 valid = rest >= kBytes ? ~uint64_t{0} : (uint64_t{1} << rest) - 1;
      const __m512i x = _mm512_maskz_loadu_epi8(valid, in + k * kBytes);
#pragma GCC unroll 8
      for (int p = 0; p < 8; ++p)
        out[p * words + k] = _mm512_test_epi8_mask(x, _mm512_set1_epi8(static_cast<char>(1 << p)));
    }
  }
}

// Integers of one row, from neuron `first` on.
inline void store_sums(const bitsiege::ByteGemm &job, __m512i sums, int64_t row, int64_t first) {
  alignas(kBytes) int32_t values[kByteLanes];
  _mm512_store_si512(values, sums);
  for (int64_t h = 0; h < 2; ++h, first += 8) {
    const int64_t rest = job.neurons - first;
    if (rest <= 0) return;
    const __mmask8 valid = static_cast<__mmask8>(rest < 8 ? (1u << rest) - 1 : 0xffu);
    const __m512i factor = _mm512_maskz_loadu_epi64(valid, job.factor + first);
    const __m512i offset = _mm512_maskz_loadu_epi64(valid, job.offset + first);
    const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i *>(values + h * 8));
    const __m512i scaled = _mm512_mullo_epi64(factor, _mm512_maskz_cvtepi32_epi64(valid, half));
    _mm512_mask_storeu_epi64(job.out_integers + row * job.out_row + first, valid, _mm512_add_epi64(offset, scaled));
  }
}

// Up to 32 bit planes of one row and group.
inline void store_levels(const bitsiege::ByteGemm &job, __m512i sums, int64_t row, int64_t group) {
  const int64_t lanes = (job.neurons + kByteLanes - 1) / kByteLanes * kByteLanes;
  const int64_t rest = job.neurons - group * kByteLanes;
  const unsigned valid = rest < kByteLanes ? (1u << rest) - 1 : 0xffffu;
  __m512i count = _mm512_set1_epi32(static_cast<int32_t>(job.first_value));
  for (int64_t level = 0; level < job.levels; ++level) {
    const __m512i limits = _mm512_load_si512(job.limits + level * lanes + group * kByteLanes);
    count = _mm512_mask_add_epi32(count, _mm512_cmpge_epi32_mask(sums, limits), count, _mm512_set1_epi32(1));
  }
  uint8_t *out = reinterpret_cast<uint8_t *>(job.out_bits) + row * job.out_row + group * 2;
  for (int64_t plane = 0; plane < job.out_planes; ++plane, out += bitsiege::words_for(job.neurons) * 8) {
    const __m512i bit = _mm512_set1_epi32(static_cast<int32_t>(uint32_t{1} << plane));
    const uint16_t bits = static_cast<uint16_t>(_cvtmask16_u32(_mm512_test_epi32_mask(count, bit)) & valid);
    __builtin_memcpy(out, &bits, sizeof bits);
  }
}

template <int kRows, int kGroups>
void byte_tile(const bitsiege::ByteGemm &job, int64_t row, int64_t group) {
  const uint8_t *x = job.input + row * job.row_bytes;
  const int8_t *w = job.weights + group * job.quads * kBytes;
  __m512i sums[kRows][kGroups];
  for (auto &line : sums) {
    for (__m512i &sum : line) sum = _mm512_setzero_si512();
  }
  for (int64_t q = 0; q < job.quads; ++q) {
    __m512i weights[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) weights[g] = _mm512_load_si512(w + (g * job.quads + q) * kBytes);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      int32_t four;
      __builtin_memcpy(&four, x + i * job.row_bytes + q * 4, sizeof four);
      const __m512i activation = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) sums[i][g] = _mm512_dpbusd_epi32(sums[i][g], activation, weights[g]);
    }
  }
  const bool one_bit = job.levels == 1 && job.out_planes == 1 && job.first_value == 0;
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) {
      if (one_bit) {
        const __m512i limits = _mm512_load_si512(job.limits + (group + g) * kByteLanes);
        const uint16_t bits = _cvtmask16_u32(_mm512_cmpge_epi32_mask(sums[i][g], limits));
        uint8_t *out = reinterpret_cast<uint8_t *>(job.out_bits) + (row + i) * job.out_row + (group + g) * 2;
        __builtin_memcpy(out, &bits, sizeof bits);
        continue;
      }
      if (job.levels == 0) {
        store_sums(job, sums[i][g], row + i, (group + g) * kByteLanes);
        continue;
      }
      if (job.out_planes <= 32) {
        store_levels(job, sums[i][g], row + i, group + g);
        continue;
      }
      alignas(kBytes) int32_t values[kByteLanes];
      _mm512_store_si512(values, sums[i][g]);
      finish_bytes(job, values, row + i, group + g);
    }
  }
}

template <int kGroups>
void byte_groups(const bitsiege::ByteGemm &job, int64_t group) {
  constexpr int kRows = 4;
  int64_t row = 0;
  for (; row + kRows <= job.rows; row += kRows) byte_tile<kRows, kGroups>(job, row, group);
  for (; row < job.rows; ++row) byte_tile<1, kGroups>(job, row, group);
}

void gemm_bytes(const bitsiege::ByteGemm &job) {
  const int64_t groups = (job.neurons + kByteLanes - 1) / kByteLanes;
  int64_t group = 0;
  for (; group + 4 <= groups; group += 4) byte_groups<4>(job, group);
  for (; group < groups; ++group) byte_groups<1>(job, group);
}

struct Compare {
  static constexpr int kPairs = 4;
  static constexpr Blocks kOrder = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
  static void below(const Blocks &low, const Blocks &high, const uint8_t *limits, uint64_t *out) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const __m512i l = (__m512i)low, h = (__m512i)high;
    out[0] = _mm512_cmplt_epu8_mask(_mm512_permutex2var_epi32(l, first, h), _mm512_load_si512(limits));
    out[1] = _mm512_cmplt_epu8_mask(_mm512_permutex2var_epi32(l, second, h), _mm512_load_si512(limits + kBytes));
  }
};

int64_t limit(int64_t iterations) {
  constexpr int kAccumulators = 16;
  __m512i counts[kAccumulators];
  __m512i w[4];
  __m512i x[4];
  for (int i = 0; i < 4; ++i) w[i] = x[i] = _mm512_set1_epi64(i);
  for (__m512i &count : counts) count = _mm512_setzero_si512();
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < kAccumulators; ++i)
      counts[i] = _mm512_add_epi64(counts[i], _mm512_popcnt_epi64(_mm512_xor_si512(w[i / 4], x[i % 4])));
    // The compiler must believe that the operands change, or it hoists the work out of the loop.
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) asm volatile("" : "+v"(w[i]), "+v"(x[i]));
  }
  // A barrier inside of the loop would fix the order of the operations and cost a fifth of the speed.
  for (__m512i &count : counts) asm volatile("" : "+v"(count));
  return kAccumulators * kLanes * bitsiege::kWordBits;
}

}  // namespace

const bitsiege::Kernels bitsiege::kAvx512Kernels = {gemm<Avx512>, gemm_bytes, pack_threshold, pack_bytes, pack_levels<Avx512>,
                                                   draw<Compare>, limit};
