// What Python hands over.
#pragma once

#include <cstdint>

namespace timing {

// The same numbers as in hw/timing/encoding.py.
enum Kind : int64_t {
    kPipeline = 0,   // latency
    kMvau = 1,       // latency, synapse fold, output beats of a vector, first cycle of work
    kFifo = 2,       // depth
    kConverter = 3,  // units of an input beat, units of an output beat
    kPadding = 4,    // beats of a row, rows, first and end column of the map, first and end row of it
    // Depth, beats of a kernel row, kernel rows, columns, rows, skip, step, row step, frame step, beats of a pixel in a
    // group, hop, groups.
    kWindow = 5,
    kPool = 6,       // beats of a window, of these before the last pixel
    kDuplicate = 7,
    kSum = 8
};

// A row of the array of modules.
struct ModuleRow {
    int64_t kind;
    int64_t p[15];
};

// A row of the array of streams.
struct StreamRow {
    int64_t beats;     // of a frame
    int64_t producer;  // module, or -1 for the source
    int64_t consumer;  // module, or -1 for the sink
};

// Cycles of each activity, and the most words that a FIFO held.
struct Counts {
    int64_t busy, starved, blocked, high_water;
};

// The same numbers as in hw/timing/engine.py.
enum Status : int64_t { kDone = 0, kHung = 1, kMemory = 2 };
enum Mode : int64_t { kFree = 0, kRandom = 1, kGiven = 2 };

// Same layout as `_Job` in hw/timing/engine.py: 8-byte fields only.
struct Job {
    const ModuleRow* modules;
    int64_t module_count;
    const StreamRow* streams;
    int64_t stream_count;
    int64_t frames;
    int64_t mode;
    int64_t until_periodic;      // stop where the rest would repeat
    uint64_t seed;               // kRandom
    int64_t in_stall;            // probability in 1/256
    int64_t out_stall;
    const uint8_t* source_idle;  // kGiven: of cycle c at c modulo the length
    int64_t source_length;
    const uint8_t* sink_busy;
    int64_t sink_length;
    int64_t* in_cycles;          // frames * input beats, or null
    int64_t* out_cycles;         // frames * output beats, or null
    int64_t* first_in;           // frames
    int64_t* last_out;           // frames
    Counts* counts;              // module_count, or null
    int64_t cycles;              // out
    int64_t followed;            // out: frames that were followed beat by beat
    int64_t period_frames;       // out: 0 where none was seen
    int64_t period_cycles;       // out
};

}  // namespace timing
