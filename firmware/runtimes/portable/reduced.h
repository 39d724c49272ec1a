/*
 * How TFLite scales the 64-bit sums of layers with int16 data and int8 weights: the Q0.31
 * multiplier is reduced to Q0.15 and the product rounded once, halves up.
 */
#ifndef PORTABLE_REDUCED_H
#define PORTABLE_REDUCED_H

#include <stdint.h>

/* x * multiplier / 2^shift, rounded. 0 <= multiplier < 2^15, 17 <= shift <= 46, for sums that fit
 * 32 bits: what is below 2^16 in the product can only change the result by its carry. */
static inline int32_t scale_reduced(int32_t x, int32_t multiplier, int32_t shift) {
    const int32_t low = (int32_t)((uint32_t)x & 0xffffu);
    const int32_t product = (x >> 16) * multiplier + ((low * multiplier) >> 16);

    return (product + (1 << (shift - 17))) >> (shift - 16);
}

/* The same for any sum, |x| < 2^47, and 8 <= shift <= 46. The planner has made sure that the result
 * fits. */
static inline int32_t scale_reduced_wide(int64_t x, int32_t multiplier, int32_t shift) {
    return (int32_t)((x * multiplier + (INT64_C(1) << (shift - 1))) >> shift);
}

#endif
