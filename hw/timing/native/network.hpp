// All modules between a source and a sink.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "job.hpp"
#include "joins.hpp"
#include "modules.hpp"
#include "sides.hpp"
#include "windows.hpp"

namespace timing {

template <class T>
class Network {
public:
    explicit Network(const Job& job) : streams_(job.stream_count), ports_(job.module_count + 2) {
        // The source is module 0, the sink the last one.
        const int64_t sink = job.module_count + 1;
        for (int64_t i = 0; i < job.stream_count; ++i) {
            const StreamRow& row = job.streams[i];
            Stream<T>& stream = streams_[i];
            stream.beats = row.beats;
            stream.producer = row.producer + 1;
            stream.consumer = row.consumer < 0 ? sink : row.consumer + 1;
            ports_[stream.producer].out.push_back(&stream);
            ports_[stream.consumer].in.push_back(&stream);
        }
        for (int64_t i = 0; i <= sink; ++i) modules_.push_back(make(job, i, sink));
        for (Stream<T>& stream : streams_) stream.allocate();
        waiting_.assign(modules_.size(), 0);
    }

    const Stream<T>& input() const { return *ports_.front().out[0]; }
    const Stream<T>& output() const { return *ports_.back().in[0]; }

    // One frame, from the source to the sink; false if some beat never moves.
    bool follow() {
        std::fill(waiting_.begin(), waiting_.end(), 1);
        // The first module that may find something goes first: the others then have more to work on.
        for (size_t i = 0; i < modules_.size();) {
            if (!waiting_[i]) {
                ++i;
                continue;
            }
            waiting_[i] = 0;
            const unsigned found = modules_[i]->step();
            if (found & kOffered) {
                for (const Stream<T>* out : ports_[i].out) waiting_[out->consumer] = 1;
            }
            size_t next = i + 1;
            if (found & kMoved) {
                for (const Stream<T>* in : ports_[i].in) {
                    waiting_[in->producer] = 1;
                    next = std::min<size_t>(next, in->producer);
                }
            }
            i = next;
        }
        for (const Stream<T>& stream : streams_) {
            if (stream.moved < stream.beats) return false;
        }
        return true;
    }

    void tally(std::vector<Tally<T>>& tallies, int64_t end) const {
        for (size_t i = 0; i < tallies.size(); ++i) modules_[i + 1]->tally(tallies[i], end);
    }

    void end_frame() {
        for (auto& module : modules_) module->end_frame();
        for (Stream<T>& stream : streams_) stream.end_frame();
    }

    // Latest cycle that is known of the frame that is followed.
    int64_t latest() const {
        int64_t cycle = -1;
        for (const Stream<T>& stream : streams_) cycle = std::max(cycle, value_of(stream.at[stream.moved - 1]));
        return cycle;
    }

    // Everything that decides the next frames, between two frames.
    State<T> save() const {
        State<T> state;
        for (const auto& module : modules_) module->save(state);
        for (const Stream<T>& s : streams_) state.times.insert(state.times.end(), s.at - s.past, s.at);
        return state;
    }

    void load(const State<T>& state) {
        Reader<T> reader{state};
        for (auto& module : modules_) module->load(reader);
        for (Stream<T>& s : streams_) {
            for (int64_t k = -s.past; k < 0; ++k) s.at[k] = reader.next_time();
        }
    }

private:
    struct Ports {
        std::vector<Stream<T>*> in, out;
    };

    std::unique_ptr<Module<T>> make(const Job& job, int64_t index, int64_t sink) {
        const Ports& ports = ports_[index];
        if (index == 0 || index == sink) {
            if constexpr (std::is_same_v<T, int64_t>) {
                if (job.mode != kFree && index == 0) return std::make_unique<StalledSource>(job, *ports.out[0]);
                if (job.mode != kFree) return std::make_unique<StalledSink>(job, *ports.in[0]);
            }
            if (index == 0) return std::make_unique<FreeSource<T>>(*ports.out[0]);
            return std::make_unique<FreeSink<T>>(*ports.in[0]);
        }
        const ModuleRow& row = job.modules[index - 1];
        Stream<T>&in = *ports.in[0], &out = *ports.out[0];
        switch (row.kind) {
            case kPipeline: return std::make_unique<Pipeline<T>>(in, out, row.p[0], 1, 1, 0);
            case kMvau:
                return std::make_unique<Pipeline<T>>(in, out, row.p[0], row.p[1], row.p[2], row.p[3]);
            case kFifo: return std::make_unique<Fifo<T>>(in, out, row.p[0]);
            case kPadding: return std::make_unique<Padding<T>>(in, out, row.p);
            case kWindow: return std::make_unique<Window<T>>(in, out, row.p);
            case kDuplicate: return std::make_unique<Duplicate<T>>(in, ports.out);
            case kSum: return std::make_unique<Sum<T>>(in, *ports.in[1], out);
            case kPool: return std::make_unique<Pool<T>>(in, out, row.p[0], row.p[1]);
            default: return std::make_unique<Converter<T>>(in, out, row.p[0], row.p[1]);
        }
    }

    std::vector<Stream<T>> streams_;
    std::vector<Ports> ports_;
    std::vector<std::unique_ptr<Module<T>>> modules_;
    std::vector<char> waiting_;
};

}  // namespace timing
