// What the engine executes: steps between buffers, made by hw/emulator/plan.py. All fields are int64, so that
// the layout is the same on both sides.
#pragma once

#include "kernel.hpp"

namespace bitsiege {

enum StepKind : int64_t {
  kPackThreshold = 0,    // uint8 -> one bit plane, by a threshold per column
  kPackBytes = 1,        // uint8 -> eight bit planes
  kPackIntegers = 2,     // int64 -> bit planes
  kUnpack = 3,           // bit planes -> int64
  kWidenBytes = 4,       // uint8 -> int64
  kThreshold = 5,        // int64 -> int64: multi-threshold per column
  kJoinRows = 6,         // packed rows -> one packed row a group of them
  kGemmBits = 7,         // packed rows x ±1 weights -> packed rows, or int64
  kGemmIntegers = 8,     // int64 x int16 -> int64
  kPad = 9,              // feature map -> larger one, in any form: pixels are copied
  kWindows = 10,         // feature map -> one row a window, in any form
  kPoolIntegers = 11,    // int64: greatest value of a window
  kPoolBits = 12,        // packed ±1 pixels: the same, which is an OR
  kPoolBytes = 13,       // bytes: greatest value of a window
  kNarrow = 14,          // int64 -> bytes, plus first_value
  kUnpackBytes = 15,     // bit planes -> bytes, plus first_value
  kGemmBytes = 16,       // bytes x int8 -> packed rows, or int64
  kSplitRows = 17,       // packed rows -> packed rows of any other length
  kPackLevels = 18,      // int64 -> bit planes: multi-threshold per column
  kPoolSum = 19,         // int64: sum of a window
  kAdd = 20,             // int64 + int64
};

struct Step {
  int64_t kind;
  int64_t source;       // buffer read
  int64_t other;        // kAdd: the second buffer read
  int64_t target;       // buffer written
  int64_t rows;         // rows of the source in one image; products: pixels
  int64_t columns;      // elements of one row of the source
  int64_t planes;       // bit planes on the packed side
  int64_t is_signed;    // the top plane counts negative
  int64_t is_bipolar;   // a packed bit means ±1
  int64_t is_narrow;    // kGemmIntegers: inputs fit 16 bits
  int64_t joined;       // kJoinRows: rows of the source in one row of the target; kSplitRows: elements of one
  int64_t groups;       // products and kWindows: parts that a pixel falls into, each with a row of its own
  int64_t neurons;      // rows of the weights, of one group
  int64_t levels;       // thresholds a channel; 0: integers
  int64_t first_value;  // output below the first threshold
  int64_t value_step;   // kThreshold: what each threshold adds
  int64_t out_planes;   // kGemmBits with thresholds
  // Offsets into the constants [bytes], multiples of 64.
  int64_t weights;
  int64_t limits;  // thresholds
  int64_t mask;    // kPackThreshold
  int64_t offset;
  int64_t factor;
  // Steps between feature maps.
  int64_t height;  // of the source
  int64_t width;
  int64_t out_height;
  int64_t out_width;
  int64_t kernel_height;
  int64_t kernel_width;
  int64_t stride_height;
  int64_t stride_width;
  int64_t top;  // pixels added
  int64_t left;
  int64_t pixel_bytes;  // of one pixel with all its channels
  int64_t fill;         // kPad: the constant that holds a new pixel
  int64_t row_bytes;    // kWindows: from one row to the next in the target
  // kGemmBits on windows of a feature map; the last four as in struct Gemm.
  int64_t pixels;
  int64_t image_words;
  int64_t starts;
  int64_t segments;
  int64_t segment_count;
  int64_t segment_words;
  int64_t shifts;
  // kGemmBits with weights drawn for each image.
  int64_t is_drawn;
  int64_t layer;        // in the generator's key
  int64_t row_blocks;   // as in struct Draw
  int64_t first_block;
  int64_t draw_limits;
  // Limits and offsets of a class of rows move by ones_factor times the +1 weights in a set of words.
  int64_t ones_classes;
  int64_t ones_factor;
  int64_t ones_sets;  // uint8 [classes][words]
};

// Memory of one step: where this block of images begins in its buffers.
struct StepMemory {
  const void *source;
  const void *other;
  void *target;
  const uint8_t *constants;
  int64_t images;
  const uint8_t *next_input;  // the following block of images, or null
  int64_t next_bytes;
  uint8_t *scratch;      // of this thread; aligned
  uint32_t seed;         // of drawn weights
  uint32_t first_frame;  // of this block of images
};

// The steps between feature maps, in window_steps.cpp.
void execute_window_step(const Step &step, const StepMemory &memory);
// One group of a product with drawn weights; `job` is the product with its fixed limits, in drawn_gemm.cpp.
void drawn_product(const Kernels &kernels, const Step &step, const StepMemory &memory, Gemm job, int64_t group);
void execute_step(const Kernels &kernels, const Step &step, const StepMemory &memory);

}  // namespace bitsiege
