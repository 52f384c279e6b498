// Steps between feature maps: padding, sliding windows and pooling. A pixel is `pixel_bytes` bytes in any form.
#include "steps.hpp"

#include <cstring>

namespace bitsiege {
namespace {

// Most pieces are a few bytes, where a call of memcpy takes longer than the copy.
inline uint8_t *copy(uint8_t *out, const uint8_t *in, int64_t bytes) {
  if (bytes >= 8 && bytes <= 16) {
    uint64_t first, last;
    std::memcpy(&first, in, 8);
    std::memcpy(&last, in + bytes - 8, 8);
    std::memcpy(out, &first, 8);
    std::memcpy(out + bytes - 8, &last, 8);
  } else if (bytes < 8) {
    for (int64_t i = 0; i < bytes; ++i) out[i] = in[i];
  } else {
    std::memcpy(out, in, static_cast<size_t>(bytes));
  }
  return out + bytes;
}

uint8_t *fill(uint8_t *out, const uint8_t *pixel, int64_t bytes, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out = copy(out, pixel, bytes);
  return out;
}

void pad(const Step &step, const StepMemory &memory) {
  const uint8_t *in = static_cast<const uint8_t *>(memory.source);
  uint8_t *out = static_cast<uint8_t *>(memory.target);
  const uint8_t *pixel = memory.constants + step.fill;
  const int64_t row_bytes = step.width * step.pixel_bytes;
  const int64_t right = step.out_width - step.left - step.width;
  const int64_t bottom = step.out_height - step.top - step.height;
  for (int64_t image = 0; image < memory.images; ++image) {
    out = fill(out, pixel, step.pixel_bytes, step.top * step.out_width);
    for (int64_t y = 0; y < step.height; ++y, in += row_bytes) {
      out = fill(out, pixel, step.pixel_bytes, step.left);
      out = copy(out, in, row_bytes);
      out = fill(out, pixel, step.pixel_bytes, right);
    }
    out = fill(out, pixel, step.pixel_bytes, bottom * step.out_width);
  }
}

// Calls `use(source of the window's corner)` for each window of each image, in order.
template <class Use>
void for_each_window(const Step &step, const StepMemory &memory, Use use) {
  const uint8_t *in = static_cast<const uint8_t *>(memory.source);
  const int64_t row_bytes = step.width * step.pixel_bytes;
  for (int64_t image = 0; image < memory.images; ++image, in += step.height * row_bytes) {
    for (int64_t y = 0; y < step.out_height; ++y) {
      for (int64_t x = 0; x < step.out_width; ++x)
        use(in + y * step.stride_height * row_bytes + x * step.stride_width * step.pixel_bytes);
    }
  }
}

void windows(const Step &step, const StepMemory &memory) {
  uint8_t *out = static_cast<uint8_t *>(memory.target);
  const int64_t line_bytes = step.kernel_width * step.pixel_bytes;
  const int64_t gap = step.row_bytes - step.kernel_height * line_bytes;
  for_each_window(step, memory, [&](const uint8_t *corner) {
    for (int64_t y = 0; y < step.kernel_height; ++y)
      out = copy(out, corner + y * step.width * step.pixel_bytes, line_bytes);
    for (int64_t i = 0; i < gap; ++i) *out++ = 0;
  });
}

// The same with one row a group, which takes a piece of every pixel.
void group_windows(const Step &step, const StepMemory &memory) {
  uint8_t *out = static_cast<uint8_t *>(memory.target);
  const int64_t piece = step.pixel_bytes / step.groups;
  const int64_t gap = step.row_bytes - step.kernel_height * step.kernel_width * piece;
  for_each_window(step, memory, [&](const uint8_t *corner) {
    for (int64_t g = 0; g < step.groups; ++g) {
      for (int64_t y = 0; y < step.kernel_height; ++y) {
        const uint8_t *in = corner + y * step.width * step.pixel_bytes + g * piece;
        for (int64_t x = 0; x < step.kernel_width; ++x) out = copy(out, in + x * step.pixel_bytes, piece);
      }
      for (int64_t i = 0; i < gap; ++i) *out++ = 0;
    }
  });
}

template <class Element, class Join>
void pool(const Step &step, const StepMemory &memory, Join join) {
  Element *out = static_cast<Element *>(memory.target);
  const int64_t channels = step.pixel_bytes / static_cast<int64_t>(sizeof(Element));
  for_each_window(step, memory, [&](const uint8_t *corner) {
    for (int64_t y = 0; y < step.kernel_height; ++y) {
      for (int64_t x = 0; x < step.kernel_width; ++x) {
        const auto *pixel = reinterpret_cast<const Element *>(corner + (y * step.width + x) * step.pixel_bytes);
        const bool first = x == 0 && y == 0;
        for (int64_t c = 0; c < channels; ++c) out[c] = first ? pixel[c] : join(out[c], pixel[c]);
      }
    }
    out += channels;
  });
}

}  // namespace

void execute_window_step(const Step &step, const StepMemory &memory) {
  switch (step.kind) {
    case kPad: return pad(step, memory);
    case kWindows: return step.groups > 1 ? group_windows(step, memory) : windows(step, memory);
    case kPoolIntegers:
      return pool<int64_t>(step, memory, [](int64_t a, int64_t b) { return a > b ? a : b; });
    case kPoolSum:
      return pool<int64_t>(step, memory, [](int64_t a, int64_t b) { return a + b; });
    case kPoolBytes:
      return pool<uint8_t>(step, memory, [](uint8_t a, uint8_t b) { return a > b ? a : b; });
    case kPoolBits: return pool<uint64_t>(step, memory, [](uint64_t a, uint64_t b) { return a | b; });
  }
}

}  // namespace bitsiege
