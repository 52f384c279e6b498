// The two functions of zlib that Verilator's FST writer calls, so that a wave needs no library to be installed.
//
// The output is a zlib stream (RFC 1950) of stored blocks (RFC 1951): valid, and not smaller than the input, so
// the writer keeps its raw bytes. Only the small header blocks of a wave go through here; values go through LZ4.

#ifndef BITSIEGE_ZLIB_H
#define BITSIEGE_ZLIB_H

#include <cstdint>
#include <cstring>

using Bytef = unsigned char;
using uLong = unsigned long;
using uLongf = unsigned long;

constexpr int Z_OK = 0;
constexpr int Z_BUF_ERROR = -5;

inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

inline int compress2(Bytef* target, uLongf* target_size, const Bytef* source, uLong size, int) {
    if (*target_size < compressBound(size)) return Z_BUF_ERROR;
    Bytef* out = target;
    *out++ = 0x78;
    *out++ = 0x01;
    uint32_t a = 1, b = 0;  // Adler-32
    uLong at = 0;
    do {
        const uLong count = size - at < 65535 ? size - at : 65535;
        *out++ = at + count == size;
        *out++ = count & 255;
        *out++ = count >> 8;
        *out++ = ~count & 255;
        *out++ = ~count >> 8 & 255;
        std::memcpy(out, source + at, count);
        out += count;
        for (const uLong end = at + count; at < end; ++at) {
            a = (a + source[at]) % 65521;
            b = (b + a) % 65521;
        }
    } while (at < size);
    for (int shift = 8; shift >= 0; shift -= 8) *out++ = b >> shift & 255;
    for (int shift = 8; shift >= 0; shift -= 8) *out++ = a >> shift & 255;
    *target_size = out - target;
    return Z_OK;
}

#endif
