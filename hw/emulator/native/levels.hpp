// Thresholds on integers, for any instruction set; `Vector` as in gemm.hpp.
#pragma once

#include "kernel.hpp"

namespace {

template <class Vector>
inline void pack_lanes(const bitsiege::PackLevels &job, const int64_t *in, int64_t first, uint8_t *out) {
  using bitsiege::kLanes;
  const int64_t lanes = (job.columns + kLanes - 1) / kLanes * kLanes;
  const int64_t plane_bytes = bitsiege::words_for(job.columns) * 8;
  const int64_t rest = job.columns - first;
  alignas(64) uint64_t values[kLanes] = {};
  if (rest >= kLanes)
    __builtin_memcpy(values, in + first, sizeof values);
  else
    for (int64_t i = 0; i < rest; ++i) values[i] = static_cast<uint64_t>(in[first + i]);
  const auto negative = Vector::negate(Vector::load(values));
  if (job.levels == 1 && job.out_planes == 1 && job.first_value == 0) {
    out[first / kLanes] = Vector::at_most(negative, job.limits + first);
    return;
  }
  auto count = Vector::start(job.first_value);
  for (int64_t level = 0; level < job.levels; ++level)
    count = Vector::count_at_most(count, negative, job.limits + level * lanes + first);
  const uint8_t valid = static_cast<uint8_t>(rest < kLanes ? (1 << rest) - 1 : 0xff);
  for (int64_t plane = 0; plane < job.out_planes; ++plane)
    out[plane * plane_bytes + first / kLanes] = static_cast<uint8_t>(Vector::bit(count, plane) & valid);
}

template <class Vector>
void pack_levels(const bitsiege::PackLevels &job) {
  const int64_t row_bytes = job.out_planes * bitsiege::words_for(job.columns) * 8;
  uint8_t *out = reinterpret_cast<uint8_t *>(job.output);
  const int64_t *in = job.input;
  for (int64_t row = 0; row < job.rows; ++row, in += job.columns, out += row_bytes) {
    for (int64_t first = 0; first < job.columns; first += bitsiege::kLanes) pack_lanes<Vector>(job, in, first, out);
  }
}

}  // namespace
