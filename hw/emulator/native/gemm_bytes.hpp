// Rows of bytes against int8 weights in plain loops, and what becomes of the sums of any instruction set.
#pragma once

#include "kernel.hpp"

namespace {

constexpr int64_t kByteLanes = bitsiege::kByteLanes;

// What becomes of the sums of one row and one group of neurons.
inline void finish_bytes(const bitsiege::ByteGemm &job, const int32_t (&sums)[kByteLanes], int64_t row,
                         int64_t group) {
  const int64_t first = group * kByteLanes;
  const int64_t rest = job.neurons - first;
  const int64_t count = rest < kByteLanes ? rest : kByteLanes;
  if (job.levels == 0) {
    for (int64_t n = 0; n < count; ++n) {
      const uint64_t scaled = static_cast<uint64_t>(job.factor[first + n]) * static_cast<uint64_t>(int64_t{sums[n]});
      job.out_integers[row * job.out_row + first + n] =
          static_cast<int64_t>(static_cast<uint64_t>(job.offset[first + n]) + scaled);
    }
    return;
  }
  const int64_t lanes = (job.neurons + kByteLanes - 1) / kByteLanes * kByteLanes;
  const int64_t plane_bytes = bitsiege::words_for(job.neurons) * 8;
  uint8_t *out = reinterpret_cast<uint8_t *>(job.out_bits) + row * job.out_row + group * 2;
  int64_t values[kByteLanes];
  for (int64_t n = 0; n < count; ++n) {
    values[n] = job.first_value;
    for (int64_t level = 0; level < job.levels; ++level) values[n] += sums[n] >= job.limits[level * lanes + first + n];
  }
  for (int64_t plane = 0; plane < job.out_planes; ++plane) {
    unsigned bits = 0;
    for (int64_t n = 0; n < count; ++n) bits |= static_cast<unsigned>(values[n] >> plane & 1) << n;
    out[plane * plane_bytes] = static_cast<uint8_t>(bits);
    out[plane * plane_bytes + 1] = static_cast<uint8_t>(bits >> 8);
  }
}

inline void gemm_bytes_plain(const bitsiege::ByteGemm &job) {
  const int64_t groups = (job.neurons + kByteLanes - 1) / kByteLanes;
  for (int64_t row = 0; row < job.rows; ++row) {
    const uint8_t *x = job.input + row * job.row_bytes;
    for (int64_t group = 0; group < groups; ++group) {
      const int8_t *w = job.weights + group * job.quads * kByteLanes * 4;
      int32_t sums[kByteLanes] = {};
      for (int64_t q = 0; q < job.quads; ++q, w += kByteLanes * 4) {
        for (int64_t n = 0; n < kByteLanes; ++n) {
          for (int64_t t = 0; t < 4; ++t) sums[n] += int32_t{x[q * 4 + t]} * int32_t{w[n * 4 + t]};
        }
      }
      finish_bytes(job, sums, row, group);
    }
  }
}

}  // namespace
