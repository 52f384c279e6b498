// What the instruction sets implement: packing images to bits, and rows of bits against ±1 weights.
//
// A packed row holds `planes` bit planes of ceil(columns / 64) words each: plane p has bit p of every element
// (two's complement), element 0 in the lowest bit of word 0. A ±1 row has one plane; bit 1 stands for +1.
// Bits past the last column are 0 in activations and weights, so they never count.
//
// Weights: [groups][words][kLanes] words, so that one vector holds word k of kLanes neurons.
//
// No standard header with inline functions may be included here: each instruction set is compiled with flags
// of its own, and the linker would keep one copy of such a function for all of them.
#pragma once

#include <stdint.h>

namespace bitsiege {

constexpr int64_t kLanes = 8;
constexpr int64_t kWordBits = 64;

inline constexpr int64_t words_for(int64_t bits) { return (bits + kWordBits - 1) / kWordBits; }

// P = sum over planes p of 2^p * popcount(weights ^ plane p), the top plane negated if `top_negative`.
// Every integer product of this program is offset - factor * P with constants of the neuron.
struct Gemm {
  const uint64_t *input;    // [rows][planes][words]
  const uint64_t *weights;  // [groups][words][kLanes]
  int64_t rows;
  int64_t words;
  int64_t planes;
  int64_t top_negative;
  int64_t neurons;
  int64_t row_words;  // from one row of the input to the next
  int64_t out_row;    // from one row of the output to the next: bytes, or integers

  // With thresholds: out = first_value + number of levels with P <= limit, as out_planes bit planes.
  int64_t levels;         // 0: integers instead
  const int64_t *limits;  // [levels][groups * kLanes]; -1 - huge in the lanes past the last neuron
  int64_t first_value;
  int64_t out_planes;
  uint64_t *out_bits;  // [rows][out_planes][words_for(neurons)]; bytes past the last group stay as they are

  // Without: offset - factor * P, in wrapping 64-bit arithmetic.
  const int64_t *offset;  // [groups * kLanes]
  const int64_t *factor;  // [groups * kLanes]
  int64_t *out_integers;  // [rows][neurons]

  // Input of the next block of images, brought towards the core while this one computes; may be null.
  const uint8_t *next_input;
  int64_t next_bytes;

  // One plane, windows instead of rows: row r is window r % pixels of image r / pixels, and its words are
  // `segment_words` ones from each of `segments`, counted from where the window starts.
  int64_t pixels;  // 0: plain rows
  int64_t image_words;
  const int64_t *starts;  // [pixels]
  const int64_t *segments;
  int64_t segment_count;
  int64_t segment_words;
  const int64_t *shifts;  // [pixels]: where the limits or offsets of a window begin
};

// Rows of bytes against int8 weights, exact in 32 bits: sum = weights * input.
constexpr int64_t kByteLanes = 16;

struct ByteGemm {
  const uint8_t *input;   // [rows][quads * 4]
  const int8_t *weights;  // [groups][quads][kByteLanes][4]
  int64_t rows;
  int64_t quads;
  int64_t neurons;
  int64_t row_bytes;  // from one row of the input to the next
  int64_t out_row;    // from one row of the output to the next: bytes, or integers

  // With thresholds: out = first_value + number of levels with sum >= limit, as out_planes bit planes.
  int64_t levels;         // 0: integers instead
  const int32_t *limits;  // [levels][groups * kByteLanes]
  int64_t first_value;
  int64_t out_planes;
  uint64_t *out_bits;  // [rows][out_planes][words_for(neurons)]

  // Without: offset + factor * sum, in wrapping 64-bit arithmetic.
  const int64_t *offset;  // [neurons]
  const int64_t *factor;  // [neurons]
  int64_t *out_integers;  // [rows][neurons]
};

// Bits of uint8 elements: element >= limit, and 0 where the mask has a 0.
struct PackThreshold {
  const uint8_t *input;  // [rows][columns]
  int64_t rows;
  int64_t columns;
  const uint8_t *limits;  // [columns]
  const uint64_t *mask;   // [words]
  int64_t all_can_fire;   // the mask holds no 0 below `columns`
  uint64_t *output;       // [rows][words]
};

// The eight bit planes of uint8 elements.
struct PackBytes {
  const uint8_t *input;  // [rows][columns]
  int64_t rows;
  int64_t columns;
  uint64_t *output;  // [rows][8][words]
};

// Thresholds on int64 values: out = first_value + number of levels with -value <= limit, as out_planes planes.
struct PackLevels {
  const int64_t *input;  // [rows][columns]
  int64_t rows;
  int64_t columns;
  int64_t levels;
  const int64_t *limits;  // [levels][columns rounded up to kLanes]
  int64_t first_value;
  int64_t out_planes;
  uint64_t *output;  // [rows][out_planes][words_for(columns)]; bytes past the last group stay as they are
};

// ±1 weights of one frame, laid out as in `Gemm`; see draws.hpp.
struct Draw {
  uint32_t seed;
  uint32_t layer;
  uint32_t frame;
  int64_t neurons;
  int64_t words;
  int64_t first_row;           // number of the first neuron
  int64_t row_blocks;          // blocks of the generator in one neuron's weights
  const int64_t *first_block;  // [words]: the block that a word begins with
  const uint8_t *limits;       // [groups][words][kLanes][64]: +1 where the byte is below; 0 where no weight is
  uint64_t *weights;           // [groups][words][kLanes]
};

struct Kernels {
  void (*gemm)(const Gemm &);
  void (*gemm_bytes)(const ByteGemm &);
  void (*pack_threshold)(const PackThreshold &);
  void (*pack_bytes)(const PackBytes &);
  void (*pack_levels)(const PackLevels &);
  void (*draw)(const Draw &);
  // xor + popcount + add on registers, `iterations` times; returns the multiply-accumulates of one iteration.
  int64_t (*limit)(int64_t iterations);
};

#if defined(__x86_64__)
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx2Kernels;
#endif
extern const Kernels kPortableKernels;

}  // namespace bitsiege
