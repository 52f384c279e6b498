// Lets generated code count bits with the processor's own instruction.
//
// Verilator's runtime counts with shifts and masks, about 12 operations for 32 bits, and compilers don't recognise
// the pattern. A layer is little else than population counts, so this decides how fast a simulation runs.
#ifndef BITSIEGE_POPCOUNT_H
#define BITSIEGE_POPCOUNT_H

#include "verilated.h"

static inline IData bitsiege_count_words(int words, const EData* word) {
    IData ones = 0;
    for (int i = 0; i < words; ++i) ones += static_cast<IData>(__builtin_popcount(word[i]));
    return ones;
}

#define VL_COUNTONES_I(bits) static_cast<IData>(__builtin_popcount(bits))
#define VL_COUNTONES_Q(bits) static_cast<IData>(__builtin_popcountll(bits))
#define VL_COUNTONES_W(words, bits) bitsiege_count_words(words, bits)

#endif
