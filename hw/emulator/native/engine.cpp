// The C interface: a network as steps over blocks of images, on several threads.
#include "steps.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace bitsiege {
namespace {

constexpr size_t kAlignment = 64;

// Lets the address sanitizer see what a step may touch of an arena.
void forbid(const uint8_t *begin, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(begin, bytes);
#else
  static_cast<void>(begin);
  static_cast<void>(bytes);
#endif
}

void allow(const uint8_t *begin, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
#else
  static_cast<void>(begin);
  static_cast<void>(bytes);
#endif
}

struct Free {
  void operator()(uint8_t *memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<uint8_t[], Free>;

Memory allocate(size_t bytes) {
  const size_t rounded = (bytes + kAlignment) / kAlignment * kAlignment;
  auto *memory = static_cast<uint8_t *>(std::aligned_alloc(kAlignment, rounded));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, rounded);
  return Memory(memory);
}

const Kernels *kernels_of(int64_t isa) {
#if defined(__x86_64__)
  if (isa == 2) return &kAvx512Kernels;
  if (isa == 1) return &kAvx2Kernels;
#endif
  return isa == 0 ? &kPortableKernels : nullptr;
}

// Buffer 0 are the images, the following `outputs` ones belong to the caller, the rest to an arena.
class Engine {
 public:
  Engine(const Kernels &kernels, const Step *steps, int64_t step_count, const int64_t *image_bytes,
         int64_t buffer_count, int64_t outputs, const uint8_t *constants, int64_t constant_bytes, int64_t block,
         const int64_t *arena_offsets, int64_t arena_bytes, int64_t scratch_bytes)
      : kernels_(kernels),
        steps_(steps, steps + step_count),
        image_bytes_(image_bytes, image_bytes + buffer_count),
        outputs_(outputs),
        constant_bytes_(constant_bytes),
        constants_(allocate(static_cast<size_t>(constant_bytes))),
        block_(block),
        arena_offsets_(arena_offsets, arena_offsets + (buffer_count - outputs - 1)),
        arena_bytes_(static_cast<size_t>(arena_bytes)),
        scratch_bytes_(static_cast<size_t>(scratch_bytes)) {
    std::memcpy(constants_.get(), constants, static_cast<size_t>(constant_bytes));
  }

  // Writes into the constants; nothing may run meanwhile. Returns whether the place is there.
  bool patch(int64_t offset, const uint8_t *bytes, int64_t count) {
    if (offset < 0 || count < 0 || offset > constant_bytes_ - count) return false;
    std::memcpy(constants_.get() + offset, bytes, static_cast<size_t>(count));
    return true;
  }

  // What drawn weights depend on.
  struct Draws {
    uint32_t seed;
    uint32_t first_frame;
  };

  void run(const uint8_t *images, int64_t count, void *const *outputs, int64_t threads, Draws draws) {
    // Enough blocks for every thread, and whole register tiles in each.
    constexpr int64_t kRowsPerTile = 4;
    const int64_t share = ((count + threads - 1) / threads + kRowsPerTile - 1) / kRowsPerTile * kRowsPerTile;
    Call call{images, count, outputs, share < block_ ? share : block_, draws, {0}};
    const int64_t blocks = (count + call.block - 1) / call.block;
    std::vector<Memory> arenas;
    while (static_cast<int64_t>(arenas.size()) < (threads < blocks ? threads : blocks)) arenas.push_back(take_arena());
    std::vector<std::thread> others;
    others.reserve(arenas.size());
    try {
      for (size_t i = 1; i < arenas.size(); ++i)
        others.emplace_back([this, &call, arena = arenas[i].get()] { work(call, arena); });
    } catch (const std::system_error &) {
      // No more threads to be had: those that are there share the work.
    }
    work(call, arenas[0].get());
    for (std::thread &other : others) other.join();
    for (Memory &arena : arenas) return_arena(std::move(arena));
  }

 private:
  struct Call {
    const uint8_t *images;
    int64_t count;
    void *const *outputs;
    int64_t block;
    Draws draws;
    std::atomic<int64_t> next;
  };

  void work(Call &call, uint8_t *arena) const {
    const auto claim = [&call] { return call.next.fetch_add(call.block, std::memory_order_relaxed); };
    // The next block is claimed before this one is computed, so that its images can be fetched meanwhile.
    for (int64_t first = claim(), next; first < call.count; first = next) {
      next = claim();
      run_block(call, arena, first, next);
    }
  }

  void run_block(const Call &call, uint8_t *arena, int64_t first, int64_t next) const {
    const int64_t images = block_length(call, first);
    int64_t next_bytes = next < call.count ? block_length(call, next) * image_bytes_[0] : 0;
    for (const Step &step : steps_) {
      StepMemory memory{address(call, arena, step.source, first), address(call, arena, step.other, first),
                        address(call, arena, step.target, first), constants_.get(), images, nullptr, 0, arena + arena_bytes_,
                        call.draws.seed, call.draws.first_frame + static_cast<uint32_t>(first)};
      if (step.kind == kGemmBits && next_bytes > 0) {
        memory.next_input = call.images + next * image_bytes_[0];
        memory.next_bytes = next_bytes;
        next_bytes = 0;
      }
      forbid(arena, arena_bytes_ + scratch_bytes_);
      for (const int64_t buffer : {step.source, step.other, step.target}) allow_buffer(arena, buffer, images);
      if (step.is_drawn) allow(arena + arena_bytes_, scratch_bytes_);
      execute_step(kernels_, step, memory);
    }
  }

  static int64_t block_length(const Call &call, int64_t first) {
    return call.count - first < call.block ? call.count - first : call.block;
  }

  uint8_t *address(const Call &call, uint8_t *arena, int64_t buffer, int64_t first) const {
    const size_t index = static_cast<size_t>(buffer);
    const int64_t begin = first * image_bytes_[index];
    if (buffer == 0) return const_cast<uint8_t *>(call.images) + begin;  // only ever a step's source
    if (buffer <= outputs_) return static_cast<uint8_t *>(call.outputs[buffer - 1]) + begin;
    return arena + arena_offsets_[index - static_cast<size_t>(outputs_) - 1];
  }

  void allow_buffer(const uint8_t *arena, int64_t buffer, int64_t images) const {
    if (buffer <= outputs_) return;
    const size_t index = static_cast<size_t>(buffer);
    allow(arena + arena_offsets_[index - static_cast<size_t>(outputs_) - 1],
          static_cast<size_t>(image_bytes_[index] * images));
  }

  Memory take_arena() {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (spare_.empty()) return allocate(arena_bytes_ + scratch_bytes_);
    Memory arena = std::move(spare_.back());
    spare_.pop_back();
    return arena;
  }

  void return_arena(Memory arena) {
    allow(arena.get(), arena_bytes_ + scratch_bytes_);
    const std::lock_guard<std::mutex> guard(mutex_);
    spare_.push_back(std::move(arena));
  }

  const Kernels &kernels_;
  const std::vector<Step> steps_;
  const std::vector<int64_t> image_bytes_;
  const int64_t outputs_;
  const int64_t constant_bytes_;
  const Memory constants_;
  const int64_t block_;
  const std::vector<int64_t> arena_offsets_;
  const size_t arena_bytes_;  // of buffers; the memory for drawn weights follows
  const size_t scratch_bytes_;
  std::mutex mutex_;
  std::vector<Memory> spare_;
};

}  // namespace
}  // namespace bitsiege

extern "C" {

// Instruction sets: 0 portable, 1 AVX2, 2 AVX-512 with VPOPCNTDQ.
int64_t bitsiege_isa_available(int64_t isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (isa == 2)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
  if (isa == 1) return __builtin_cpu_supports("avx2") != 0;
#endif
  return isa == 0;
}

void *bitsiege_create(int64_t isa, const bitsiege::Step *steps, int64_t step_count, const int64_t *image_bytes,
                      int64_t buffer_count, int64_t outputs, const uint8_t *constants, int64_t constant_bytes,
                      int64_t block, const int64_t *arena_offsets, int64_t arena_bytes, int64_t scratch_bytes) {
  const bitsiege::Kernels *kernels = bitsiege::kernels_of(isa);
  if (kernels == nullptr) return nullptr;
  try {
    return new bitsiege::Engine(*kernels, steps, step_count, image_bytes, buffer_count, outputs, constants,
                                constant_bytes, block, arena_offsets, arena_bytes, scratch_bytes);
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}

void bitsiege_destroy(void *engine) { delete static_cast<bitsiege::Engine *>(engine); }

// Writes bytes into weights and thresholds; nothing may run meanwhile. Returns 0, or 1 where there is no such place.
int64_t bitsiege_patch(void *engine, int64_t offset, const uint8_t *bytes, int64_t count) {
  return static_cast<bitsiege::Engine *>(engine)->patch(offset, bytes, count) ? 0 : 1;
}

// Returns 0, or 1 when there is no memory.
int64_t bitsiege_run(void *engine, const uint8_t *images, int64_t count, void *const *outputs, int64_t threads,
                     int64_t seed, int64_t first_frame) {
  try {
    static_cast<bitsiege::Engine *>(engine)->run(images, count, outputs, threads,
                                                {static_cast<uint32_t>(seed), static_cast<uint32_t>(first_frame)});
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
}

// Xor, popcount and add on registers, on the calling thread; returns the multiply-accumulates done.
int64_t bitsiege_popcount_macs(int64_t isa, int64_t iterations) {
  const bitsiege::Kernels *kernels = bitsiege::kernels_of(isa);
  return kernels == nullptr ? 0 : kernels->limit(iterations) * iterations;
}

// A chain of additions that depend on each other, one a clock cycle; returns how many.
int64_t bitsiege_dependent_adds(int64_t iterations) {
  constexpr int64_t kUnroll = 16;
  uint64_t value = 1;
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < kUnroll; ++i) {
      value += value;
      asm volatile("" : "+r"(value));
    }
  }
  return iterations * kUnroll;
}
}
