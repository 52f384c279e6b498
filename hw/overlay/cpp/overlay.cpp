// A Verilated overlay with a memory behind its AXI4 master, and a master before its registers.
//
// One clock cycle: inputs are driven while the clock is low, handshakes are sampled, then the clock rises. The memory
// checks what AXI asks of a master: what is offered stays the same until it is taken, bursts are those that a
// Zynq-7000's HP port takes, none crosses 4 KiB, WLAST is in its place.

#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "Vbnn_overlay.h"
#include "verilated.h"

namespace {

enum Stuck : uint64_t { kStuckAr = 1, kStuckR = 2, kStuckAw = 4, kStuckW = 8, kStuckB = 16 };
enum : uint32_t { kOkay = 0, kDecodeError = 3 };
constexpr int kWordBytes = 8;
constexpr uint64_t kPage = 4096;
constexpr int kResetCycles = 4;
constexpr size_t kQueue = 8;

thread_local std::string memory_directory;
thread_local std::string last_error;

// xorshift64*: Marsaglia 2003, Vigna 2016.
class Random {
public:
    explicit Random(uint64_t seed) : state_{seed * 0x9e3779b97f4a7c15ULL | 1} {}
    bool chance(int64_t of_256) {
        if (of_256 <= 0) return false;
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<int64_t>((state_ * 0x2545f4914f6cdd1dULL) >> 56) < of_256;
    }

private:
    uint64_t state_;
};

struct Burst {
    uint64_t address;
    int64_t beats;
    int64_t due;
    uint32_t response;
};

// Answers of the memory at some addresses that are not OKAY.
struct Bad {
    uint64_t begin;
    uint64_t end;
    bool write;
    uint32_t response;
};

// What a channel offered and nobody took yet; it must stay the same.
template <typename Payload>
class Waiting {
public:
    bool kept(bool valid, bool ready, const Payload& payload) {
        const bool good = !waits_ || (valid && payload == payload_);
        waits_ = valid && !ready;
        payload_ = payload;
        return good;
    }

private:
    bool waits_ = false;
    Payload payload_{};
};

using Address = std::vector<uint64_t>;

class Overlay {
public:
    Overlay(const char* directory, uint8_t* memory, uint64_t base, uint64_t size)
        : directory_{directory}, memory_{memory}, base_{base}, size_{size}, context_{new VerilatedContext} {
        context_->threads(1);
        top_.reset(new Vbnn_overlay{context_.get()});
        memory_directory = directory_;
        top_->eval();  // runs the initial blocks, which read the memories
        reset();
    }
    ~Overlay() { top_->final(); }

    void reset() {
        top_->rst_n = 0;
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_arvalid = 0;
        top_->s_axil_bready = top_->s_axil_rready = 1;
        top_->m_axi_rvalid = top_->m_axi_bvalid = 0;
        reads_.clear(), writes_.clear(), answers_.clear();
        address_read_ = {}, address_write_ = {}, data_ = {};
        for (int i = 0; i < kResetCycles; ++i) cycle();
        top_->rst_n = 1;
    }

    void step(int64_t cycles) {
        for (int64_t i = 0; i < cycles; ++i) cycle();
    }

    // Returns the response, or -1 where none came in time.
    int32_t write(uint32_t address, uint32_t value, uint32_t strobes, int64_t deadline) {
        top_->s_axil_awaddr = address;
        top_->s_axil_wdata = value;
        top_->s_axil_wstrb = strobes;
        top_->s_axil_awvalid = top_->s_axil_wvalid = 1;
        bool taken = false;
        for (int64_t i = 0; i < deadline; ++i) {
            cycle();
            if (taken_write_) taken = true, top_->s_axil_awvalid = top_->s_axil_wvalid = 0;
            if (taken && answered_write_) return write_response_;
        }
        top_->s_axil_awvalid = top_->s_axil_wvalid = 0;
        return -1;
    }

    int32_t read(uint32_t address, uint32_t* value, int64_t deadline) {
        top_->s_axil_araddr = address;
        top_->s_axil_arvalid = 1;
        bool taken = false;
        for (int64_t i = 0; i < deadline; ++i) {
            cycle();
            if (taken_read_) taken = true, top_->s_axil_arvalid = 0;
            if (taken && answered_read_) {
                *value = read_value_;
                return read_response_;
            }
        }
        top_->s_axil_arvalid = 0;
        return -1;
    }

    void timing(uint64_t seed, int64_t stall, int64_t latency) {
        random_ = Random{seed};
        stall_ = stall;
        latency_ = latency;
    }
    void stick(uint64_t channels) { stuck_ = channels; }
    void inject(const Bad& bad) { bad_.push_back(bad); }
    void heal() { bad_.clear(), stuck_ = 0; }
    int64_t cycles() const { return cycles_; }
    int64_t moved(bool write) const { return write ? words_written_ : words_read_; }

private:
    void cycle() {
        drive();
        top_->clk = 0;
        top_->eval();
        sample();
        top_->clk = 1;
        top_->eval();
        // Inputs change only after the rising edge.
        if (read_moved_) top_->m_axi_rvalid = 0;
        if (answer_moved_) top_->m_axi_bvalid = 0;
        ++cycles_;
    }

    bool goes(uint64_t channel) { return !(stuck_ & channel) && !random_.chance(stall_); }

    void drive() {
        Vbnn_overlay& top = *top_;
        top.m_axi_arready = goes(kStuckAr) && reads_.size() < kQueue;
        top.m_axi_awready = goes(kStuckAw) && writes_.size() < kQueue;
        top.m_axi_wready = goes(kStuckW) && !writes_.empty();
        // What was offered stays until it is taken.
        if (!top.m_axi_rvalid && !reads_.empty() && reads_.front().due <= cycles_ && goes(kStuckR)) {
            const Burst& burst = reads_.front();
            const bool inside = holds(burst.address);
            uint64_t word = 0;
            if (inside) std::memcpy(&word, memory_ + (burst.address - base_), kWordBytes);
            top.m_axi_rvalid = 1;
            top.m_axi_rdata = word;
            top.m_axi_rresp = inside ? response(burst.address, false) : uint32_t{kDecodeError};
            top.m_axi_rlast = burst.beats == 1;
        }
        if (!top.m_axi_bvalid && !answers_.empty() && answers_.front().due <= cycles_ && goes(kStuckB)) {
            top.m_axi_bvalid = 1;
            top.m_axi_bresp = answers_.front().response;
        }
    }

    void sample() {
        Vbnn_overlay& top = *top_;
        taken_write_ = top.s_axil_awvalid && top.s_axil_awready && top.s_axil_wready;
        taken_read_ = top.s_axil_arvalid && top.s_axil_arready;
        answered_write_ = top.s_axil_bvalid;
        answered_read_ = top.s_axil_rvalid;
        write_response_ = top.s_axil_bresp;
        read_response_ = top.s_axil_rresp;
        read_value_ = top.s_axil_rdata;
        read_moved_ = answer_moved_ = false;
        if (!top.rst_n) return;
        sample_reads();
        sample_writes();
    }

    void sample_reads() {
        Vbnn_overlay& top = *top_;
        const Address offer{top.m_axi_araddr, top.m_axi_arlen, top.m_axi_arsize, top.m_axi_arburst,
                            top.m_axi_arcache, top.m_axi_arprot};
        require(address_read_.kept(top.m_axi_arvalid, top.m_axi_arready, offer), "changed or withdrew a read address");
        if (top.m_axi_arvalid) check_burst(offer);
        if (top.m_axi_arvalid && top.m_axi_arready) {
            reads_.push_back({top.m_axi_araddr, top.m_axi_arlen + 1, cycles_ + latency_, kOkay});
        }
        read_moved_ = top.m_axi_rvalid && top.m_axi_rready;
        if (read_moved_) {
            ++words_read_;
            Burst& burst = reads_.front();
            burst.address += kWordBytes;
            if (--burst.beats == 0) reads_.pop_front();
        }
    }

    void sample_writes() {
        Vbnn_overlay& top = *top_;
        const Address offer{top.m_axi_awaddr, top.m_axi_awlen, top.m_axi_awsize, top.m_axi_awburst,
                            top.m_axi_awcache, top.m_axi_awprot};
        const Address data{top.m_axi_wdata, top.m_axi_wstrb, top.m_axi_wlast};
        require(address_write_.kept(top.m_axi_awvalid, top.m_axi_awready, offer), "changed or withdrew a write address");
        require(data_.kept(top.m_axi_wvalid, top.m_axi_wready, data), "changed or withdrew a word to write");
        if (top.m_axi_awvalid) check_burst(offer);
        if (top.m_axi_wvalid && top.m_axi_wready) take_word(data);
        if (top.m_axi_awvalid && top.m_axi_awready) {
            writes_.push_back({top.m_axi_awaddr, top.m_axi_awlen + 1, 0, kOkay});
        }
        answer_moved_ = top.m_axi_bvalid && top.m_axi_bready;
        if (answer_moved_) answers_.pop_front();
    }

    void take_word(const Address& data) {
        Burst& burst = writes_.front();
        require(data[2] == (burst.beats == 1), "raised WLAST in a wrong place");
        const bool inside = holds(burst.address);
        for (int i = 0; inside && i < kWordBytes; ++i) {
            if (data[1] >> i & 1) memory_[burst.address - base_ + i] = static_cast<uint8_t>(data[0] >> 8 * i);
        }
        const uint32_t answer = inside ? response(burst.address, true) : uint32_t{kDecodeError};
        if (answer > burst.response) burst.response = answer;
        ++words_written_;
        burst.address += kWordBytes;
        if (--burst.beats == 0) {
            answers_.push_back({0, 0, cycles_ + latency_, burst.response});
            writes_.pop_front();
        }
    }

    void check_burst(const Address& offer) {
        const uint64_t bytes = (offer[1] + 1) * kWordBytes;
        require(offer[1] < 16, "asked for a burst of more than 16 beats");
        require(offer[2] == 3 && offer[3] == 1, "asked for a burst that is not INCR in 64-bit words");
        require(offer[4] == 3 && offer[5] == 0, "asked for other cache or protection bits than it should");
        require(offer[0] % kWordBytes == 0, "asked for an address that is no multiple of 8");
        require(offer[0] / kPage == (offer[0] + bytes - 1) / kPage, "asked for a burst across 4 KiB");
    }

    bool holds(uint64_t address) const { return address >= base_ && address - base_ + kWordBytes <= size_; }

    uint32_t response(uint64_t address, bool write) const {
        for (const Bad& bad : bad_) {
            if (bad.write == write && address + kWordBytes > bad.begin && address < bad.end) return bad.response;
        }
        return kOkay;
    }

    void require(bool good, const char* what) const {
        if (!good) throw std::runtime_error(std::string{what} + " in cycle " + std::to_string(cycles_));
    }

    std::string directory_;
    uint8_t* memory_;
    uint64_t base_, size_;
    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vbnn_overlay> top_;
    Random random_{0};
    int64_t stall_ = 0, latency_ = 4, cycles_ = 0, words_read_ = 0, words_written_ = 0;
    uint64_t stuck_ = 0;
    std::vector<Bad> bad_;
    std::deque<Burst> reads_, writes_, answers_;
    Waiting<Address> address_read_, address_write_, data_;
    bool read_moved_ = false, answer_moved_ = false;
    bool taken_write_ = false, taken_read_ = false, answered_write_ = false, answered_read_ = false;
    int32_t write_response_ = 0, read_response_ = 0;
    uint32_t read_value_ = 0;
};

// Runs something of an overlay; a failure leaves its message and returns -2.
template <typename Function>
int32_t guarded(void* overlay, Function function) {
    try {
        return function(*static_cast<Overlay*>(overlay));
    } catch (const std::exception& error) {
        last_error = error.what();
        return -2;
    }
}

}  // namespace

// The model's sources are compiled with VL_READMEM_N renamed to this; Verilator itself only warns of a missing file.
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

void* overlay_open(const char* directory, uint8_t* memory, uint64_t base, uint64_t size) {
    try {
        return new Overlay{directory, memory, base, size};
    } catch (const std::exception& error) {
        last_error = error.what();
        return nullptr;
    }
}

int32_t overlay_step(void* overlay, int64_t cycles) {
    return guarded(overlay, [&](Overlay& o) { return o.step(cycles), 0; });
}

int32_t overlay_reset(void* overlay) {
    return guarded(overlay, [&](Overlay& o) { return o.reset(), 0; });
}

int32_t overlay_write(void* overlay, uint32_t address, uint32_t value, uint32_t strobes, int64_t deadline) {
    return guarded(overlay, [&](Overlay& o) { return o.write(address, value, strobes, deadline); });
}

int32_t overlay_read(void* overlay, uint32_t address, uint32_t* value, int64_t deadline) {
    return guarded(overlay, [&](Overlay& o) { return o.read(address, value, deadline); });
}

void overlay_timing(void* overlay, uint64_t seed, int64_t stall, int64_t latency) {
    static_cast<Overlay*>(overlay)->timing(seed, stall, latency);
}

void overlay_stick(void* overlay, uint64_t channels) { static_cast<Overlay*>(overlay)->stick(channels); }

void overlay_inject(void* overlay, uint64_t begin, uint64_t end, int32_t write, uint32_t response) {
    static_cast<Overlay*>(overlay)->inject({begin, end, write != 0, response});
}

void overlay_heal(void* overlay) { static_cast<Overlay*>(overlay)->heal(); }

int64_t overlay_cycles(void* overlay) { return static_cast<Overlay*>(overlay)->cycles(); }

int64_t overlay_moved(void* overlay, int32_t write) { return static_cast<Overlay*>(overlay)->moved(write != 0); }

const char* overlay_error() { return last_error.c_str(); }

void overlay_close(void* overlay) { delete static_cast<Overlay*>(overlay); }

}  // extern "C"
