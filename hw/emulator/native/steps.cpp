// The steps: the two hot ones go to the kernels of an instruction set, the others are plain loops.
#include "steps.hpp"

#include <cstring>

namespace bitsiege {
namespace {

template <class T>
const T *constant(const StepMemory &memory, int64_t offset) {
  return reinterpret_cast<const T *>(memory.constants + offset);
}

void pack_threshold(const Kernels &kernels, const Step &step, const StepMemory &memory) {
  PackThreshold job{};
  job.input = static_cast<const uint8_t *>(memory.source);
  job.rows = step.rows * memory.images;
  job.columns = step.columns;
  job.limits = constant<uint8_t>(memory, step.limits);
  job.mask = constant<uint64_t>(memory, step.mask);
  job.all_can_fire = step.levels;
  job.output = static_cast<uint64_t *>(memory.target);
  kernels.pack_threshold(job);
}

void pack_bytes(const Kernels &kernels, const Step &step, const StepMemory &memory) {
  PackBytes job{};
  job.input = static_cast<const uint8_t *>(memory.source);
  job.rows = step.rows * memory.images;
  job.columns = step.columns;
  job.output = static_cast<uint64_t *>(memory.target);
  kernels.pack_bytes(job);
}

void pack_integers(const Step &step, const StepMemory &memory) {
  const int64_t *in = static_cast<const int64_t *>(memory.source);
  uint64_t *out = static_cast<uint64_t *>(memory.target);
  const int64_t words = words_for(step.columns);
  for (int64_t row = 0; row < step.rows * memory.images; ++row, in += step.columns, out += step.planes * words) {
    std::memset(out, 0, static_cast<size_t>(step.planes * words) * sizeof *out);
    for (int64_t i = 0; i < step.columns; ++i) {
      const uint64_t value = step.is_bipolar ? in[i] > 0 : static_cast<uint64_t>(in[i]);
      for (int64_t p = 0; p < step.planes; ++p)
        out[p * words + i / kWordBits] |= (value >> p & 1) << (i % kWordBits);
    }
  }
}

void unpack_signs(const uint64_t *in, int64_t columns, int64_t *out) {
  for (int64_t begin = 0; begin < columns; begin += kWordBits) {
    const uint64_t word = in[begin / kWordBits];
    const int64_t length = columns - begin < kWordBits ? columns - begin : kWordBits;
    for (int64_t i = 0; i < length; ++i) out[begin + i] = 2 * static_cast<int64_t>(word >> i & 1) - 1;
  }
}

void unpack(const Step &step, const StepMemory &memory) {
  const uint64_t *in = static_cast<const uint64_t *>(memory.source);
  int64_t *out = static_cast<int64_t *>(memory.target);
  const int64_t words = words_for(step.columns);
  for (int64_t row = 0; row < step.rows * memory.images; ++row, in += step.planes * words, out += step.columns) {
    if (step.is_bipolar) {
      unpack_signs(in, step.columns, out);
      continue;
    }
    for (int64_t i = 0; i < step.columns; ++i) {
      uint64_t value = 0;
      for (int64_t p = step.planes - 1; p >= 0; --p) {
        const uint64_t bit = in[p * words + i / kWordBits] >> (i % kWordBits) & 1;
        const bool negative = step.is_signed && p == step.planes - 1;
        value = 2 * value + (negative ? 0 - bit : bit);
      }
      out[i] = static_cast<int64_t>(value);
    }
  }
}

void widen_bytes(const Step &step, const StepMemory &memory) {
  const uint8_t *in = static_cast<const uint8_t *>(memory.source);
  int64_t *out = static_cast<int64_t *>(memory.target);
  const int64_t count = step.rows * step.columns * memory.images;
  for (int64_t i = 0; i < count; ++i) out[i] = in[i];
}

void threshold(const Step &step, const StepMemory &memory) {
  const int64_t *in = static_cast<const int64_t *>(memory.source);
  int64_t *out = static_cast<int64_t *>(memory.target);
  const int64_t *limits = constant<int64_t>(memory, step.limits);  // [levels][columns]
  for (int64_t row = 0; row < step.rows * memory.images; ++row, in += step.columns, out += step.columns) {
    for (int64_t i = 0; i < step.columns; ++i) out[i] = step.first_value;
    for (int64_t level = 0; level < step.levels; ++level) {
      const int64_t *limit = limits + level * step.columns;
      for (int64_t i = 0; i < step.columns; ++i) out[i] += in[i] >= limit[i] ? step.value_step : 0;
    }
  }
}

// Appends `bits` bits to a row that begins at `out` and holds `position` bits already; the rest of it is 0.
void append_bits(uint64_t *out, int64_t position, const uint64_t *in, int64_t bits) {
  const int64_t shift = position % kWordBits;
  uint64_t *word = out + position / kWordBits;
  for (int64_t k = 0; k < words_for(bits); ++k) {
    word[k] |= in[k] << shift;
    const int64_t rest = bits - k * kWordBits;  // what does not fit goes into the next word, if it is there
    if (shift + (rest < kWordBits ? rest : kWordBits) > kWordBits) word[k + 1] |= in[k] >> (kWordBits - shift);
  }
}

void join_rows(const Step &step, const StepMemory &memory) {
  const uint64_t *in = static_cast<const uint64_t *>(memory.source);
  uint64_t *out = static_cast<uint64_t *>(memory.target);
  const int64_t words = words_for(step.columns);
  const int64_t out_words = words_for(step.columns * step.joined);
  const int64_t count = step.rows / step.joined * memory.images;
  std::memset(out, 0, static_cast<size_t>(count * step.planes * out_words) * sizeof *out);
  for (int64_t row = 0; row < count * step.joined; ++row) {
    for (int64_t p = 0; p < step.planes; ++p) {
      append_bits(out + (row / step.joined * step.planes + p) * out_words, row % step.joined * step.columns,
                  in + (row * step.planes + p) * words, step.columns);
    }
  }
}

// Appends elements to packed rows of any length; a plane at a time.
void split_rows(const Step &step, const StepMemory &memory) {
  const uint64_t *in = static_cast<const uint64_t *>(memory.source);
  uint64_t *out = static_cast<uint64_t *>(memory.target);
  const int64_t words = words_for(step.columns);
  const int64_t out_words = words_for(step.joined);
  const int64_t elements = step.rows * step.columns * memory.images;
  std::memset(out, 0, static_cast<size_t>(elements / step.joined * step.planes * out_words) * sizeof *out);
  for (int64_t p = 0; p < step.planes; ++p) {
    for (int64_t element = 0, run; element < elements; element += run) {
      const int64_t from = element % step.columns;
      const int64_t to = element % step.joined;
      run = kWordBits - from % kWordBits;  // what one word of the source holds
      if (step.columns - from < run) run = step.columns - from;
      if (step.joined - to < run) run = step.joined - to;
      uint64_t bits = in[(element / step.columns * step.planes + p) * words + from / kWordBits] >> (from % kWordBits);
      if (run < kWordBits) bits &= (uint64_t{1} << run) - 1;
      append_bits(out + (element / step.joined * step.planes + p) * out_words, to, &bits, run);
    }
  }
}

void add(const Step &step, const StepMemory &memory) {
  const int64_t *first = static_cast<const int64_t *>(memory.source);
  const int64_t *second = static_cast<const int64_t *>(memory.other);
  int64_t *out = static_cast<int64_t *>(memory.target);
  const int64_t count = step.rows * step.columns * memory.images;
  for (int64_t i = 0; i < count; ++i) out[i] = first[i] + second[i];
}

// Packed rows whose last bytes no kernel writes begin as zeros: their memory held something else before.
void clear_tails(const Step &step, const StepMemory &memory, int64_t rows, int64_t row_elements, int64_t written) {
  const int64_t plane_bytes = words_for(row_elements) * 8;
  if (written < plane_bytes)
    std::memset(memory.target, 0, static_cast<size_t>(rows * memory.images * step.out_planes * plane_bytes));
}

void pack_levels(const Kernels &kernels, const Step &step, const StepMemory &memory) {
  PackLevels job{};
  job.input = static_cast<const int64_t *>(memory.source);
  job.rows = step.rows * memory.images;
  job.columns = step.columns;
  job.levels = step.levels;
  job.limits = constant<int64_t>(memory, step.limits);
  job.first_value = step.first_value;
  job.out_planes = step.out_planes;
  job.output = static_cast<uint64_t *>(memory.target);
  clear_tails(step, memory, step.rows, step.columns, (step.columns + kLanes - 1) / kLanes);
  kernels.pack_levels(job);
}

void gemm_bits(const Kernels &kernels, const Step &step, const StepMemory &memory) {
  Gemm job{};
  job.input = static_cast<const uint64_t *>(memory.source);
  job.weights = constant<uint64_t>(memory, step.weights);
  job.rows = step.rows * memory.images;
  job.words = words_for(step.columns);
  job.planes = step.planes;
  job.top_negative = step.is_signed;
  job.neurons = step.neurons;
  job.levels = step.levels;
  job.limits = constant<int64_t>(memory, step.limits);
  job.first_value = step.first_value;
  job.out_planes = step.out_planes;
  job.out_bits = static_cast<uint64_t *>(memory.target);
  job.offset = constant<int64_t>(memory, step.offset);
  job.factor = constant<int64_t>(memory, step.factor);
  job.out_integers = static_cast<int64_t *>(memory.target);
  job.next_input = memory.next_input;
  job.next_bytes = memory.next_bytes;
  job.pixels = step.pixels;
  if (step.pixels > 0) {
    job.image_words = step.image_words;
    job.starts = constant<int64_t>(memory, step.starts);
    job.segments = constant<int64_t>(memory, step.segments);
    job.segment_count = step.segment_count;
    job.segment_words = step.segment_words;
    job.words = step.segment_count * step.segment_words;
    job.shifts = constant<int64_t>(memory, step.shifts);
  }
  const int64_t out_words = step.out_planes * words_for(step.neurons);
  job.row_words = step.groups * step.planes * job.words;
  job.out_row = step.groups * (step.levels == 0 ? step.neurons : 8 * out_words);
  const int64_t lanes = (step.neurons + kLanes - 1) / kLanes * kLanes;
  if (step.levels > 0) clear_tails(step, memory, step.rows * step.groups, step.neurons, lanes / 8);
  for (int64_t group = 0; group < step.groups; ++group) {
    if (step.is_drawn)
      drawn_product(kernels, step, memory, job, group);
    else
      kernels.gemm(job);
    job.next_input = nullptr;
    job.input += step.planes * job.words;
    job.weights += job.words * lanes;
    job.limits += step.levels * lanes;
    job.offset += lanes;
    job.factor += lanes;
    job.out_bits += out_words;
    job.out_integers += step.neurons;
  }
}

void gemm_bytes(const Kernels &kernels, const Step &step, const StepMemory &memory) {
  ByteGemm job{};
  job.input = static_cast<const uint8_t *>(memory.source);
  job.weights = constant<int8_t>(memory, step.weights);
  job.rows = step.rows * memory.images;
  job.quads = step.columns / 4;
  job.neurons = step.neurons;
  job.levels = step.levels;
  job.limits = constant<int32_t>(memory, step.limits);
  job.first_value = step.first_value;
  job.out_planes = step.out_planes;
  job.out_bits = static_cast<uint64_t *>(memory.target);
  job.offset = constant<int64_t>(memory, step.offset);
  job.factor = constant<int64_t>(memory, step.factor);
  job.out_integers = static_cast<int64_t *>(memory.target);
  const int64_t out_words = step.out_planes * words_for(step.neurons);
  job.row_bytes = step.groups * step.columns;
  job.out_row = step.groups * (step.levels == 0 ? step.neurons : 8 * out_words);
  const int64_t lanes = (step.neurons + kByteLanes - 1) / kByteLanes * kByteLanes;
  if (step.levels > 0) clear_tails(step, memory, step.rows * step.groups, step.neurons, lanes / 8);
  for (int64_t group = 0; group < step.groups; ++group) {
    kernels.gemm_bytes(job);
    job.input += step.columns;
    job.weights += step.columns * lanes;
    job.limits += step.levels * lanes;
    job.offset += step.neurons;
    job.factor += step.neurons;
    job.out_bits += out_words;
    job.out_integers += step.neurons;
  }
}

void narrow(const Step &step, const StepMemory &memory) {
  const int64_t *in = static_cast<const int64_t *>(memory.source);
  uint8_t *out = static_cast<uint8_t *>(memory.target);
  const int64_t count = step.rows * step.columns * memory.images;
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(in[i] + step.first_value);
}

void unpack_bytes(const Step &step, const StepMemory &memory) {
  const uint64_t *in = static_cast<const uint64_t *>(memory.source);
  uint8_t *out = static_cast<uint8_t *>(memory.target);
  const int64_t words = words_for(step.columns);
  for (int64_t row = 0; row < step.rows * memory.images; ++row, in += step.planes * words, out += step.columns) {
    for (int64_t i = 0; i < step.columns; ++i) {
      uint64_t value = 0;
      for (int64_t p = 0; p < step.planes; ++p)
        value |= (in[p * words + i / kWordBits] >> (i % kWordBits) & 1) << p;
      if (step.is_bipolar) value = 2 * value - 1;
      if (step.is_signed && value >> (step.planes - 1) != 0) value -= uint64_t{1} << step.planes;
      out[i] = static_cast<uint8_t>(value + static_cast<uint64_t>(step.first_value));
    }
  }
}

// Inputs of 16 bits, in pieces short enough for 32-bit sums: 256 * 2^15 * 2^7 = 2^30.
void add_products_narrow(const int64_t *in, const int16_t *weights, int64_t columns, int64_t neurons, uint64_t *sums) {
  constexpr int64_t kPiece = 256;
  alignas(64) int16_t piece[kPiece];
  for (int64_t begin = 0; begin < columns; begin += kPiece) {
    const int64_t length = columns - begin < kPiece ? columns - begin : kPiece;
    for (int64_t i = 0; i < length; ++i) piece[i] = static_cast<int16_t>(in[begin + i]);
    for (int64_t n = 0; n < neurons; ++n) {
      const int16_t *w = weights + n * columns + begin;
      int32_t sum = 0;
      for (int64_t i = 0; i < length; ++i) sum += int32_t{piece[i]} * int32_t{w[i]};
      sums[n] += static_cast<uint64_t>(int64_t{sum});
    }
  }
}

void add_products_wide(const int64_t *in, const int16_t *weights, int64_t columns, int64_t neurons, uint64_t *sums) {
  for (int64_t n = 0; n < neurons; ++n) {
    const int16_t *w = weights + n * columns;
    for (int64_t i = 0; i < columns; ++i)
      sums[n] += static_cast<uint64_t>(in[i]) * static_cast<uint64_t>(int64_t{w[i]});
  }
}

// Wrapping arithmetic: the result fits, whatever the partial sums do.
void gemm_integers(const Step &step, const StepMemory &memory) {
  const int64_t *in = static_cast<const int64_t *>(memory.source);
  uint64_t *out = static_cast<uint64_t *>(memory.target);
  const int16_t *weights = constant<int16_t>(memory, step.weights);  // [neurons][columns]
  const uint64_t *offset = constant<uint64_t>(memory, step.offset);
  const uint64_t *factor = constant<uint64_t>(memory, step.factor);
  const auto add_products = step.is_narrow ? add_products_narrow : add_products_wide;
  const int64_t rows = step.rows * step.groups * memory.images;
  for (int64_t row = 0; row < rows; ++row, in += step.columns, out += step.neurons) {
    const int64_t first = row % step.groups * step.neurons;
    std::memset(out, 0, static_cast<size_t>(step.neurons) * sizeof *out);
    add_products(in, weights + first * step.columns, step.columns, step.neurons, out);
    for (int64_t n = 0; n < step.neurons; ++n) out[n] = offset[first + n] + factor[first + n] * out[n];
  }
}

}  // namespace

void execute_step(const Kernels &kernels, const Step &step, const StepMemory &memory) {
  switch (step.kind) {
    case kPackThreshold: return pack_threshold(kernels, step, memory);
    case kPackBytes: return pack_bytes(kernels, step, memory);
    case kPackIntegers: return pack_integers(step, memory);
    case kUnpack: return unpack(step, memory);
    case kWidenBytes: return widen_bytes(step, memory);
    case kThreshold: return threshold(step, memory);
    case kJoinRows: return join_rows(step, memory);
    case kGemmBits: return gemm_bits(kernels, step, memory);
    case kGemmIntegers: return gemm_integers(step, memory);
    case kGemmBytes: return gemm_bytes(kernels, step, memory);
    case kNarrow: return narrow(step, memory);
    case kUnpackBytes: return unpack_bytes(step, memory);
    case kSplitRows: return split_rows(step, memory);
    case kPackLevels: return pack_levels(kernels, step, memory);
    case kAdd: return add(step, memory);
    default: return execute_window_step(step, memory);
  }
}

}  // namespace bitsiege
