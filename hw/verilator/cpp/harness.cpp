// Drives a Verilated `bnn_top` through its AXI4-Streams, called from Python through ctypes.
//
// `design.h` is generated for each design: it includes the Verilated headers and gives the constants below.
// A call of bitsiege_run resets the design, streams whole images back to back, and returns logits and the
// cycle of each image's first input beat and last output beat. Nothing here waits without a deadline.

#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "design.h"

// What Vbnn_top::eval calls. That one also takes a lock after every call, for messages of other threads that a
// single-threaded model does not have; without it small designs run a fifth faster.
void Vbnn_top___024root___eval(Vbnn_top___024root* root);

namespace {

// A run's outcome; hw/verilator/simulation.py has the same numbers.
enum Status : int32_t {
    kDone = 0,
    kHung = 1,         // no beat moved on either side for `deadline` cycles
    kBadLast = 2,      // tlast where no frame ends, or missing where one does
    kBadLabel = 3,     // the label beside the last beat is not the lowest index of the largest logit
    kUnstable = 4,     // the output changed, or was withdrawn, while it waited for tready
    kNotSupported = 5, // taps or a wave asked of a library that was built without them
    kFailed = 6,       // the model stopped itself: a missing memory file, $fatal
    kBadAnswer = 7     // a register was not written in two cycles, with OKAY
};

constexpr int kResetCycles = 4;

// Memory files are opened in the directory that bitsiege_open was handed: a path compiled in would tie the
// library to one directory, and the process' working directory belongs to Python.
thread_local std::string memory_directory;
thread_local std::string last_error;

// Same layout as `_Run` in hw/verilator/simulation.py: 8-byte fields only.
struct Run {
    const uint8_t* images;    // frames * kInBeats * kInBytes
    int64_t frames;
    int64_t* logits;          // frames * kOutBeats * kPe
    int64_t* first_in;        // cycle of the first input beat, per frame
    int64_t* last_out;        // cycle of the last output beat, per frame
    int64_t* in_cycles;       // cycle of every input beat, frames * kInBeats; or null
    int64_t* out_cycles;      // cycle of every output beat, frames * kOutBeats; or null
    uint64_t seed;            // of the stalls
    int64_t in_stall;         // probability of an idle source in a cycle, in 1/256
    int64_t out_stall;        // probability of a busy sink in a cycle, in 1/256
    int64_t deadline;         // cycles without any beat after which the design counts as hung
    uint8_t* const* taps;     // per tap: frames * beats * bytes; or null
    int64_t* tap_beats;       // per tap: beats seen
    const char* wave_path;    // or null
    int64_t wave_frame;       // the frame whose life is recorded
    int64_t draw_seed;        // of drawn weights; only with BITSIEGE_CONTROL
    int64_t draw_frame;       // index of the first frame, likewise
    const uint8_t* const* keep;  // per tap: bits of a frame's beats that stay, beats * bytes; or null
    const uint8_t* const* turn;  // per tap: bits that are inverted then, likewise; only with BITSIEGE_FORCE
    int64_t frame;            // out: frames that have left
    int64_t cycles;           // out: cycles since the reset
};

// xorshift64*: Marsaglia 2003, Vigna 2016.
class Random {
public:
    explicit Random(uint64_t seed) : state_{seed * 0x9e3779b97f4a7c15ULL | 1} {}
    bool chance(int64_t of_256) {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<int64_t>((state_ * 0x2545f4914f6cdd1dULL) >> 56) < of_256;
    }

private:
    uint64_t state_;
};

// Verilator stores a port as a little-endian word or an array of such words, so bytes copy straight.
template <typename Port>
void load(Port& port, const uint8_t* bytes, size_t count) {
    static_assert(sizeof(Port) >= kInBytes);
    std::memcpy(&port, bytes, count);
}

int64_t read_logit(const uint8_t* bytes) {
    uint64_t value = 0;
    std::memcpy(&value, bytes, kLogitBytes);
    constexpr int kShift = 64 - 8 * kLogitBytes;
    return static_cast<int64_t>(value << kShift) >> kShift;
}

#if BITSIEGE_FORCE
// What the readers of a stream see; `tdata` is what its writer drives.
#define BITSIEGE_READ(wire) root->wire##_tdata__VforceRd
#else
#define BITSIEGE_READ(wire) root->wire##_tdata
#endif

#if BITSIEGE_FORCE
// Forces the bits of a stream's data that `keep` and `turn` change: data becomes (data & keep) ^ turn.
template <typename Data>
void force(const Data& data, Data& enable, Data& value, const uint8_t* keep, const uint8_t* turn, size_t count) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&data);
    auto* enabled = reinterpret_cast<uint8_t*>(&enable);
    auto* forced = reinterpret_cast<uint8_t*>(&value);
    for (size_t i = 0; i < count; ++i) {
        enabled[i] = static_cast<uint8_t>(~keep[i] | turn[i]);
        forced[i] = static_cast<uint8_t>((bytes[i] & keep[i]) ^ turn[i]);
    }
}

// Forces the beats that wait on the streams in this cycle; `moved` counts those that have left, per tap.
void force_taps(Vbnn_top___024root* root, const Run& job, const std::vector<int64_t>& moved) {
#define BITSIEGE_TAP(index, wire, beats, bytes)                                                           \
    if (job.keep[index] != nullptr) {                                                                     \
        const int64_t at = moved[index] % (beats) * (bytes);                                              \
        force(root->wire##_tdata, root->wire##_tdata__VforceEn, root->wire##_tdata__VforceVal,            \
              job.keep[index] + at, job.turn[index] + at, (bytes));                                       \
    }
    BITSIEGE_TAPS(BITSIEGE_TAP)
#undef BITSIEGE_TAP
}

void count_moves(const Vbnn_top___024root* root, std::vector<int64_t>& moved) {
#define BITSIEGE_TAP(index, wire, beats, bytes) moved[index] += root->wire##_tvalid && root->wire##_tready;
    BITSIEGE_TAPS(BITSIEGE_TAP)
#undef BITSIEGE_TAP
}
#endif

#if BITSIEGE_DEBUG
// Copies the beat that moves on each inner stream in this cycle; BITSIEGE_TAPS comes from design.h.
void sample_taps(const Vbnn_top___024root* root, Run& job) {
#define BITSIEGE_TAP(index, wire, beats, bytes)                                                           \
    if (root->wire##_tvalid && root->wire##_tready && job.tap_beats[index] < job.frames * (beats)) {      \
        std::memcpy(job.taps[index] + job.tap_beats[index]++ * (bytes), &BITSIEGE_READ(wire), (bytes));   \
    }
    BITSIEGE_TAPS(BITSIEGE_TAP)
#undef BITSIEGE_TAP
}
#endif

class Simulation {
public:
    explicit Simulation(const char* directory) : directory_{directory}, context_{new VerilatedContext} {
        context_->threads(1);
#if BITSIEGE_DEBUG
        context_->traceEverOn(true);
#endif
        top_.reset(new Vbnn_top{context_.get()});
        memory_directory = directory_;
        top_->eval();  // runs the initial blocks, which read the memories
    }
    ~Simulation() { top_->final(); }

    Status run(Run& job) {
#if !BITSIEGE_DEBUG
        if (job.taps != nullptr || job.wave_path != nullptr) return kNotSupported;
#endif
#if !BITSIEGE_FORCE
        if (job.keep != nullptr) return kNotSupported;
#endif
        const bool stalls = job.in_stall > 0 || job.out_stall > 0;
        reset();
#if BITSIEGE_CONTROL
        // The second answer comes in the cycle in which the generators begin anew; cycle 0 is the one behind it.
        if (!write_register(kSeedAddress, job.draw_seed)) return kBadAnswer;
        if (!write_register(kFrameAddress, job.draw_frame)) return kBadAnswer;
#endif
        const Status status = stalls ? stream<true>(job) : stream<false>(job);
#if BITSIEGE_DEBUG
        if (wave_) wave_->close();
        wave_.reset();
#endif
        return status;
    }

private:
    void reset() {
        waiting_ = false;
        top_->rst_n = 0;
        top_->s_axis_tvalid = 0;
        top_->m_axis_tready = 0;
        for (int i = 0; i < kResetCycles; ++i) {
            set_clock(0);
            set_clock(1);
        }
        top_->rst_n = 1;
    }

    void set_clock(int level) {
        top_->clk = level;
#if BITSIEGE_DEBUG
        top_->eval();  // it also tells the wave that something may have changed
#else
        Vbnn_top___024root___eval(top_->rootp);
#endif
    }

#if BITSIEGE_CONTROL
    // Takes two cycles: the request, and its answer.
    bool write_register(int address, int64_t value) {
        top_->s_axil_awaddr = static_cast<uint8_t>(address);
        top_->s_axil_wdata = static_cast<uint32_t>(value);
        top_->s_axil_wstrb = 0xf;
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_bready = 1;
        top_->s_axil_arvalid = 0;
        set_clock(0);
        bool good = top_->s_axil_awready && top_->s_axil_wready;
        set_clock(1);
        top_->s_axil_awvalid = top_->s_axil_wvalid = 0;
        set_clock(0);
        good = good && top_->s_axil_bvalid && top_->s_axil_bresp == 0;
        set_clock(1);
        top_->s_axil_bready = 0;
        return good;
    }
#endif

    template <bool kStalls>
    Status stream(Run& job) {
        Vbnn_top& top = *top_;
        // Each side has numbers of its own, so that neither depends on what the other one does.
        Random source_chance{job.seed}, sink_chance{~job.seed};
        const uint8_t* next = job.images;
        int64_t frame_in = 0, beat_in = 0, beat_out = 0, cycle = 0, idle = 0;
        // Written once, at the end: the jobs of two threads may share a cache line.
        auto stop = [&](Status status) {
            job.cycles = cycle;
            return status;
        };
        auto offer = [&](bool source_ready) {
            top.s_axis_tvalid = source_ready && frame_in < job.frames;
            if (top.s_axis_tvalid) load(top.s_axis_tdata, next, kInBytes);
        };
        offer(!kStalls || !source_chance.chance(job.in_stall));
        top.m_axis_tready = !kStalls || !sink_chance.chance(job.out_stall);
        job.frame = 0;
#if BITSIEGE_FORCE
        std::vector<int64_t> moved(kTaps);
#endif
        for (; job.frame < job.frames; ++cycle) {
            set_clock(0);
#if BITSIEGE_FORCE
            if (job.keep != nullptr) {
                force_taps(top_->rootp, job, moved);
                top_->eval();
                count_moves(top_->rootp, moved);
            }
#endif
            const bool in = top.s_axis_tvalid && top.s_axis_tready;
            const bool out = top.m_axis_tvalid && top.m_axis_tready;
            if (in) {
                if (beat_in == 0) job.first_in[frame_in] = cycle;
                if (job.in_cycles != nullptr) job.in_cycles[frame_in * kInBeats + beat_in] = cycle;
                next += kInBytes;
                if (++beat_in == kInBeats) beat_in = 0, ++frame_in;
            }
            if (out) {
                const bool last = beat_out == kOutBeats - 1;
                if (job.out_cycles != nullptr) job.out_cycles[job.frame * kOutBeats + beat_out] = cycle;
                if (static_cast<bool>(top.m_axis_tlast) != last) return stop(kBadLast);
                if (!take_beat(job, beat_out)) return stop(kBadLabel);
                beat_out = last ? 0 : beat_out + 1;
            }
            if (kStalls && !stable()) return stop(kUnstable);
#if BITSIEGE_DEBUG
            sample(job, cycle);
#endif
            set_clock(1);
#if BITSIEGE_DEBUG
            if (wave_) wave_->dump(static_cast<uint64_t>(2 * cycle + 1));
#endif
            if (out && beat_out == 0) job.last_out[job.frame++] = cycle;
            idle = in || out ? 0 : idle + 1;
            if (idle > job.deadline) return stop(kHung);
            if (kStalls) {
                // A beat that was offered stays until it is taken: the source may not withdraw it.
                if (in || !top.s_axis_tvalid) offer(!source_chance.chance(job.in_stall));
                top.m_axis_tready = !sink_chance.chance(job.out_stall);
            } else if (in) {
                offer(true);
            }
        }
        return stop(kDone);
    }

    // Stores the logits of one output beat; checks the label beside the last one.
    bool take_beat(Run& job, int64_t beat) {
        const auto* bytes = reinterpret_cast<const uint8_t*>(&top_->m_axis_tdata);
        int64_t* row = job.logits + job.frame * (kOutBeats * kPe);
        for (int64_t i = 0; i < kPe; ++i) row[beat * kPe + i] = read_logit(bytes + i * kLogitBytes);
        if (beat != kOutBeats - 1 || kLabelBytes == 0) return true;
        uint64_t label = 0;
        std::memcpy(&label, bytes + kPe * kLogitBytes, kLabelBytes);
        int64_t best = 0;
        for (int64_t i = 1; i < kOutBeats * kPe; ++i) {
            if (row[i] > row[best]) best = i;
        }
        return label == static_cast<uint64_t>(best);
    }

    // AXI4-Stream: what waits for tready must keep tvalid and tdata. Call once a cycle, before the clock edge.
    bool stable() {
        const bool kept = !waiting_ || (top_->m_axis_tvalid
            && std::memcmp(waiting_data_, &top_->m_axis_tdata, sizeof top_->m_axis_tdata) == 0);
        waiting_ = top_->m_axis_tvalid && !top_->m_axis_tready;
        if (waiting_) std::memcpy(waiting_data_, &top_->m_axis_tdata, sizeof top_->m_axis_tdata);
        return kept;
    }

#if BITSIEGE_DEBUG
    // Records the beats that move on the inner streams in this cycle, and the wave of the chosen frame.
    void sample(Run& job, int64_t cycle) {
        if (job.taps != nullptr) sample_taps(top_->rootp, job);
        const bool alive = job.wave_path != nullptr && job.first_in[job.wave_frame] >= 0
            && job.frame <= job.wave_frame;
        if (alive && !wave_) {
            wave_.reset(new WaveFile);
            top_->trace(wave_.get(), 99);
            wave_->open(job.wave_path);
        }
        if (wave_ && !alive) {
            wave_->close();
            wave_.reset();
            job.wave_path = nullptr;
        }
        if (wave_) wave_->dump(static_cast<uint64_t>(2 * cycle));
    }

    std::unique_ptr<WaveFile> wave_;
#endif

    std::string directory_;
    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vbnn_top> top_;
    bool waiting_ = false;
    uint8_t waiting_data_[sizeof(Vbnn_top::m_axis_tdata)] = {};
};

}  // namespace

// The model's sources are compiled with VL_READMEM_N renamed to this. Verilator itself only warns of a missing
// file, and would go on with an empty memory.
void bitsiege_readmem(bool hex, int bits, QData depth, int array_lsb, const std::string& filename,
                      void* memory, QData start, QData end) VL_MT_SAFE {
    const std::string path = memory_directory + "/" + filename;
    if (!std::ifstream{path}.good()) throw std::runtime_error("can't read the memory file " + path);
    VL_READMEM_N(hex, bits, depth, array_lsb, path, memory, start, end);
}

// The runtime is compiled with VL_USER_FATAL: its own vl_fatal would end the Python process.
void vl_fatal(const char* filename, int line, const char*, const char* message) VL_MT_UNSAFE {
    throw std::runtime_error(std::string{filename} + ":" + std::to_string(line) + ": " + message);
}

extern "C" {

void* bitsiege_open(const char* directory) {
    try {
        return new Simulation{directory};
    } catch (const std::exception& error) {
        last_error = error.what();
        return nullptr;
    }
}

int32_t bitsiege_run(void* simulation, Run* job) {
    try {
        return static_cast<Simulation*>(simulation)->run(*job);
    } catch (const std::exception& error) {
        last_error = error.what();
        return kFailed;
    }
}

const char* bitsiege_error() { return last_error.c_str(); }

void bitsiege_close(void* simulation) { delete static_cast<Simulation*>(simulation); }

}  // extern "C"
