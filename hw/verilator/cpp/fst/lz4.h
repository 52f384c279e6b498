// The two functions of LZ4 that Verilator's FST writer calls, so that a wave needs no library to be installed.
//
// The output is the LZ4 block format: sequences of a token (literals << 4 | match - 4, 15 = more bytes follow),
// literals, and a 16-bit distance. The format asks for 5 literals at the end, and for no match that starts in
// the last 12 bytes.

#ifndef BITSIEGE_LZ4_H
#define BITSIEGE_LZ4_H

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

namespace bitsiege_lz4 {

constexpr int kMinMatch = 4;
constexpr int kEndLiterals = 5;
constexpr int kLastMatchStart = 12;
constexpr int kMaxDistance = 65535;
constexpr int kHashBits = 14;

inline uint32_t word_at(const char* data) {
    uint32_t word;
    std::memcpy(&word, data, sizeof word);
    return word;
}

inline char* put_length(char* out, int length) {
    for (; length >= 255; length -= 255) *out++ = static_cast<char>(255);
    *out++ = static_cast<char>(length);
    return out;
}

// Writes one sequence; `match` 0 means the last one, which has literals only.
inline char* put_sequence(char* out, const char* literals, int count, int distance, int match) {
    const int extra = match == 0 ? 0 : match - kMinMatch;
    *out++ = static_cast<char>((count < 15 ? count : 15) << 4 | (extra < 15 ? extra : 15));
    if (count >= 15) out = put_length(out, count - 15);
    std::memcpy(out, literals, count);
    out += count;
    if (match == 0) return out;
    *out++ = static_cast<char>(distance & 255);
    *out++ = static_cast<char>(distance >> 8);
    return extra >= 15 ? put_length(out, extra - 15) : out;
}

}  // namespace bitsiege_lz4

inline int LZ4_compress_default(const char* source, char* target, int size, int) {
    using namespace bitsiege_lz4;
    std::vector<int> seen(1 << kHashBits, -1);
    char* out = target;
    int literals = 0;  // start of the literals that are not written yet
    for (int at = 0; at < size - kLastMatchStart;) {
        int& slot = seen[word_at(source + at) * 2654435761u >> (32 - kHashBits)];
        const int candidate = slot;
        slot = at;
        const bool found = candidate >= 0 && at - candidate <= kMaxDistance
            && word_at(source + candidate) == word_at(source + at);
        if (!found) {
            ++at;
            continue;
        }
        int match = kMinMatch;
        while (at + match < size - kEndLiterals && source[candidate + match] == source[at + match]) ++match;
        out = put_sequence(out, source + literals, at - literals, at - candidate, match);
        at += match;
        literals = at;
    }
    out = put_sequence(out, source + literals, size - literals, 0, 0);
    return static_cast<int>(out - target);
}

#endif
