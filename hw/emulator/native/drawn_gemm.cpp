// Products with weights drawn for each image, which follow the product's own code image by image.
#include "steps.hpp"

namespace bitsiege {
namespace {

template <class T>
const T *constant(const StepMemory &memory, int64_t offset) {
  return reinterpret_cast<const T *>(memory.constants + offset);
}

// The +1 weights of each neuron in the words of one class, times the step's factor.
void count_ones(const Step &step, const uint64_t *weights, int64_t words, const uint8_t *in_class, int64_t lanes,
                int64_t *ones) {
  for (int64_t lane = 0; lane < lanes; lane += kLanes) {
    int64_t counts[kLanes] = {};
    for (int64_t k = 0; k < words; ++k, weights += kLanes) {
      if (in_class[k] == 0) continue;
      for (int64_t i = 0; i < kLanes; ++i) counts[i] += __builtin_popcountll(weights[i]);
    }
    for (int64_t i = 0; i < kLanes; ++i) ones[lane + i] = step.ones_factor * counts[i];
  }
}

// Limits, or offsets, move with the drawn weights where inputs are no plain ±1; they are made in `moved`.
void move_limits(const Step &step, const StepMemory &memory, Gemm &job, int64_t lanes, int64_t *moved) {
  const int64_t rows = step.levels == 0 ? 1 : step.levels;
  const int64_t *from = step.levels == 0 ? job.offset : job.limits;
  int64_t *ones = moved + step.ones_classes * rows * lanes;
  int64_t *to = moved;
  for (int64_t c = 0; c < step.ones_classes; ++c) {
    const uint8_t *in_class = constant<uint8_t>(memory, step.ones_sets) + c * job.words;
    count_ones(step, job.weights, job.words, in_class, lanes, ones);
    for (int64_t level = 0; level < rows; ++level, from += lanes, to += lanes) {
      for (int64_t i = 0; i < lanes; ++i) {
        const uint64_t factor = step.levels == 0 ? static_cast<uint64_t>(job.factor[i]) : 1;
        to[i] = static_cast<int64_t>(static_cast<uint64_t>(from[i]) + factor * static_cast<uint64_t>(ones[i]));
      }
    }
  }
  (step.levels == 0 ? job.offset : job.limits) = moved;
}

}  // namespace

void drawn_product(const Kernels &kernels, const Step &step, const StepMemory &memory, Gemm job, int64_t group) {
  const int64_t lanes = (step.neurons + kLanes - 1) / kLanes * kLanes;
  uint64_t *weights = reinterpret_cast<uint64_t *>(memory.scratch);
  const Gemm fixed = job;
  Draw draw{};
  draw.seed = memory.seed;
  draw.layer = static_cast<uint32_t>(step.layer);
  draw.neurons = step.neurons;
  draw.words = job.words;
  draw.first_row = group * step.neurons;
  draw.row_blocks = step.row_blocks;
  draw.first_block = constant<int64_t>(memory, step.first_block);
  draw.limits = constant<uint8_t>(memory, step.draw_limits) + group * lanes * job.words * kWordBits;
  draw.weights = weights;
  job.rows = step.rows;
  job.weights = weights;
  for (int64_t image = 0; image < memory.images; ++image) {
    draw.frame = memory.first_frame + static_cast<uint32_t>(image);
    kernels.draw(draw);
    if (step.ones_classes > 0) {
      job.limits = fixed.limits;
      job.offset = fixed.offset;
      move_limits(step, memory, job, lanes, reinterpret_cast<int64_t *>(weights + lanes * job.words));
    }
    kernels.gemm(job);
    job.next_input = nullptr;
    job.input += job.pixels > 0 ? job.image_words : step.rows * job.row_words;
    job.out_bits += step.rows * job.out_row / 8;
    job.out_integers += step.rows * job.out_row;
  }
}

}  // namespace bitsiege
