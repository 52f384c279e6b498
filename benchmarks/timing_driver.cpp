// Drives several designs of one Verilated `sweep_top` at once: handshakes alone, with stalls on both sides.
//
// argv: a file of numbers, and the file to write. Read: designs, patterns, frames, cycles without a beat after which a
// design counts as hung; of each design its input and output beats a frame; of each pattern and design the seed and the
// probabilities of a stall at the source and at the sink in 1/256. Written, 64-bit: of each pattern and design the
// number of input beats and their cycles, and the same of the output beats.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <vector>

#include "Vsweep_top.h"
#include "verilated.h"

namespace {

// The generator of hw/verilator/cpp/harness.cpp.
class Random {
public:
    explicit Random(uint64_t seed) : state_{seed * 0x9e3779b97f4a7c15ULL | 1} {}
    uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1dULL;
    }
    bool chance(int64_t of_256) { return static_cast<int64_t>(next() >> 56) < of_256; }

private:
    uint64_t state_;
};

struct Design {
    int64_t in_beats = 0, out_beats = 0, in_total = 0, out_total = 0, in_stall = 0, out_stall = 0, idle = 0;
    Random source{0}, sink{0};
    bool valid = false, ready = false;
    std::vector<int64_t> in, out;

    bool done(int64_t deadline) const {
        return static_cast<int64_t>(out.size()) == out_total || idle > deadline;
    }
    void offer() { valid = !source.chance(in_stall) && static_cast<int64_t>(in.size()) < in_total; }
};

void set_clock(Vsweep_top& top, int level) {
    top.clk = level;
    top.eval();
}

void run(Vsweep_top& top, std::vector<Design>& designs, int64_t deadline) {
    Random noise{7};
    top.rst_n = 0;
    top.s_tvalid = top.m_tready = 0;
    for (int i = 0; i < 4; ++i) set_clock(top, 0), set_clock(top, 1);
    top.rst_n = 1;
    for (Design& d : designs) d.offer(), d.ready = !d.sink.chance(d.out_stall);
    bool running = true;
    for (int64_t cycle = 0; running; ++cycle) {
        uint32_t valid = 0, ready = 0;
        for (size_t i = 0; i < designs.size(); ++i) {
            valid |= static_cast<uint32_t>(designs[i].valid) << i;
            ready |= static_cast<uint32_t>(designs[i].ready) << i;
        }
        top.s_tvalid = valid;
        top.m_tready = ready;
        top.noise = noise.next();
        set_clock(top, 0);
        const uint32_t in_moves = top.s_tready & valid, out_moves = top.m_tvalid & ready;
        set_clock(top, 1);
        running = false;
        for (size_t i = 0; i < designs.size(); ++i) {
            Design& d = designs[i];
            const bool in = in_moves >> i & 1, out = out_moves >> i & 1;
            if (d.done(deadline)) continue;
            if (in) d.in.push_back(cycle);
            if (out) d.out.push_back(cycle);
            d.idle = in || out ? 0 : d.idle + 1;
            if (in || !d.valid) d.offer();
            d.ready = !d.sink.chance(d.out_stall);
            running |= !d.done(deadline);
        }
    }
}

void write(std::ofstream& file, const std::vector<int64_t>& cycles) {
    const int64_t count = static_cast<int64_t>(cycles.size());
    file.write(reinterpret_cast<const char*>(&count), sizeof count);
    file.write(reinterpret_cast<const char*>(cycles.data()), static_cast<std::streamsize>(count * sizeof count));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    std::ifstream job{argv[1]};
    std::ofstream result{argv[2], std::ios::binary};
    int64_t count = 0, patterns = 0, frames = 0, deadline = 0;
    job >> count >> patterns >> frames >> deadline;
    std::vector<Design> shapes(count);
    for (Design& d : shapes) {
        job >> d.in_beats >> d.out_beats;
        d.in_total = frames * d.in_beats;
        d.out_total = frames * d.out_beats;
    }
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vsweep_top>(context.get());
    for (int64_t pattern = 0; pattern < patterns; ++pattern) {
        std::vector<Design> designs = shapes;
        for (Design& d : designs) {
            uint64_t seed = 0;
            job >> seed >> d.in_stall >> d.out_stall;
            d.source = Random{seed};
            d.sink = Random{~seed};
        }
        run(*top, designs, deadline);
        for (const Design& d : designs) write(result, d.in), write(result, d.out);
    }
    top->final();
    return job && result ? 0 : 1;
}
