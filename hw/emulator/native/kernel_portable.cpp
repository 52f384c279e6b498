// Standard C++ for any machine: popcounts in 64-bit words by masks and shifts, which compilers vectorise.
#include "gemm.hpp"
#include "gemm_bytes.hpp"
#include "draws.hpp"
#include "levels.hpp"

namespace {

// A vector of GCC and Clang: SSE2, NEON, or plain registers.
constexpr int kPartLanes = 2;
constexpr int kParts = kLanes / kPartLanes;
typedef uint64_t Part __attribute__((vector_size(kPartLanes * sizeof(uint64_t))));

struct Lanes {
  Part part[kParts];
};

inline Part byte_counts(Part bits) {
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  return (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
}

struct Portable {
  using Weights = Lanes;
  using Counts = Lanes;
  using Sums = Lanes;
  static constexpr int kRowBlock = 2;
  static constexpr int kGroupBlock = 2;
  static constexpr int64_t kWordsPerCounts = 31;  // a byte counts to 255, a word adds up to 8

  static Weights load(const uint64_t *words) {
    Weights out;
    __builtin_memcpy(&out, words, sizeof out);
    return out;
  }
  static Counts first(const Weights &w, uint64_t x) {
    Counts out;
    for (int i = 0; i < kParts; ++i) out.part[i] = byte_counts(w.part[i] ^ x);
    return out;
  }
  static Counts count(Counts counts, const Weights &w, uint64_t x) {
    for (int i = 0; i < kParts; ++i) counts.part[i] += byte_counts(w.part[i] ^ x);
    return counts;
  }
  static Sums sums(const Counts &counts) {
    constexpr uint64_t kEven = 0x00ff00ff00ff00ffu;
    Sums out;
    for (int i = 0; i < kParts; ++i) {
      Part pairs = (counts.part[i] & kEven) + (counts.part[i] >> 8 & kEven);
      pairs += pairs >> 16;
      pairs += pairs >> 32;
      out.part[i] = pairs & 0xffffu;
    }
    return out;
  }
  static Sums add(Sums a, const Sums &b) {
    for (int i = 0; i < kParts; ++i) a.part[i] += b.part[i];
    return a;
  }
  static Sums twice(const Sums &a) { return add(a, a); }
  static Sums negate(Sums a) {
    for (int i = 0; i < kParts; ++i) a.part[i] = -a.part[i];
    return a;
  }
  static uint64_t lane(const Lanes &lanes, int i) { return lanes.part[i / kPartLanes][i % kPartLanes]; }
  static bool fires(const Sums &sums, const int64_t *limits, int i) {
    return static_cast<int64_t>(lane(sums, i)) <= limits[i];
  }
  static uint8_t at_most(const Sums &sums, const int64_t *limits) {
    unsigned bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= static_cast<unsigned>(fires(sums, limits, i)) << i;
    return static_cast<uint8_t>(bits);
  }
  static Sums start(int64_t value) {
    Sums out;
    for (int i = 0; i < kParts; ++i) out.part[i] = Part{} + static_cast<uint64_t>(value);
    return out;
  }
  static Sums count_at_most(Sums count, const Sums &sums, const int64_t *limits) {
    for (int i = 0; i < kLanes; ++i) count.part[i / kPartLanes][i % kPartLanes] += fires(sums, limits, i);
    return count;
  }
  static uint8_t bit(const Sums &value, int64_t plane) {
    unsigned bits = 0;
    for (int i = 0; i < kLanes; ++i) bits |= static_cast<unsigned>(lane(value, i) >> plane & 1) << i;
    return static_cast<uint8_t>(bits);
  }
  static void store(const Sums &sums, const int64_t *offset, const int64_t *factor, int64_t *out, int64_t lanes) {
    for (int i = 0; i < lanes; ++i) {
      const uint64_t scaled = lane(sums, i) * static_cast<uint64_t>(factor[i]);
      out[i] = static_cast<int64_t>(static_cast<uint64_t>(offset[i]) - scaled);
    }
  }
};

constexpr int64_t kWordBits = bitsiege::kWordBits;

void pack_threshold(const bitsiege::PackThreshold &job) {
  const int64_t words = bitsiege::words_for(job.columns);
  for (int64_t row = 0; row < job.rows; ++row) {
    for (int64_t k = 0; k < words; ++k) {
      const int64_t first = k * kWordBits;
      const int64_t count = job.columns - first < kWordBits ? job.columns - first : kWordBits;
      const uint8_t *in = job.input + row * job.columns + first;
      uint64_t word = 0;
      for (int64_t i = 0; i < count; ++i) word |= static_cast<uint64_t>(in[i] >= job.limits[first + i]) << i;
      job.output[row * words + k] = word & job.mask[k];
    }
  }
}

void pack_bytes(const bitsiege::PackBytes &job) {
  const int64_t words = bitsiege::words_for(job.columns);
  for (int64_t row = 0; row < job.rows; ++row) {
    for (int64_t k = 0; k < words; ++k) {
      const int64_t first = k * kWordBits;
      const int64_t count = job.columns - first < kWordBits ? job.columns - first : kWordBits;
      const uint8_t *in = job.input + row * job.columns + first;
      for (int p = 0; p < 8; ++p) {
        uint64_t word = 0;
        for (int64_t i = 0; i < count; ++i) word |= static_cast<uint64_t>(in[i] >> p & 1) << i;
        job.output[(row * 8 + p) * words + k] = word;
      }
    }
  }
}

struct Compare {
  static constexpr int kPairs = 2;
  static constexpr Blocks kOrder = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
  static void below(const Blocks &low, const Blocks &high, const uint8_t *limits, uint64_t *out) {
    for (int row = 0; row < 2; ++row, limits += kWordBits) {
      out[row] = 0;
      for (int block = 0; block < kBlocksPerWord; ++block) {
        const uint32_t words[2] = {low[row * kBlocksPerWord + block], high[row * kBlocksPerWord + block]};
        for (int i = 0; i < kBlocksPerWord; ++i) {
          const uint8_t byte = static_cast<uint8_t>(words[i / 4] >> (i % 4 * 8));
          out[row] |= static_cast<uint64_t>(byte < limits[block * 8 + i]) << (block * 8 + i);
        }
      }
    }
  }
};

int64_t limit(int64_t iterations) {
  constexpr int64_t kInner = 31;
  uint64_t words[kLanes];
  for (int i = 0; i < kLanes; ++i) words[i] = 0x9e3779b97f4a7c15u * static_cast<uint64_t>(i + 1);
  const Lanes w = Portable::load(words);
  Lanes total = Portable::start(0);
  for (int64_t n = 0; n < iterations; ++n) {
    uint64_t x = Portable::lane(total, 0);
    Lanes counts = Portable::first(w, x);
    for (int64_t k = 1; k < kInner; ++k) counts = Portable::count(counts, w, x += 0x9e3779b97f4a7c15u);
    total = Portable::add(total, Portable::sums(counts));
  }
  // Every lane is used, or the compiler leaves its work out.
  volatile uint64_t sink = 0;
  for (int i = 0; i < kLanes; ++i) sink = sink + Portable::lane(total, i);
  return kInner * kLanes * bitsiege::kWordBits;
}

}  // namespace

const bitsiege::Kernels bitsiege::kPortableKernels = {gemm<Portable>, gemm_bytes_plain, pack_threshold, pack_bytes, pack_levels<Portable>,
                                                     draw<Compare>, limit};
