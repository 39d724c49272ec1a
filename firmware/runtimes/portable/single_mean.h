/*
 * round(sum * scale) as ESP-DL's pools have it: the product, and the half that
 * is added to round up, in single precision. Where a mean lies halfway between
 * two integers, the error of 1 / area decides.
 *
 * scale is mantissa / 2^shift, the mantissa of 24 bits. |sum| <= 2^24 and
 * 1 <= shift <= 60; the planner has made sure that the result fits.
 */
#ifndef PORTABLE_SINGLE_MEAN_H
#define PORTABLE_SINGLE_MEAN_H

#include <stdint.h>

#include "power_of_two.h"

/* x rounded to 24 significant bits, halves to even, as a float holds it. |x| < 2^62. */
static inline int64_t to_single(int64_t x) {
    const int64_t magnitude = x < 0 ? -x : x;
    int32_t excess = 0;

    while (magnitude >> excess > 0xffffff) {
        excess++;
    }
    return shift_half_even_wide(x, excess) * (INT64_C(1) << excess);
}

static inline int32_t scaled_half_up(int32_t sum, int32_t mantissa, int32_t shift) {
    const int64_t product = to_single((int64_t)sum * mantissa);

    return (int32_t)(to_single(product + (INT64_C(1) << (shift - 1))) >> shift);
}

static inline int32_t scaled_half_even(int32_t sum, int32_t mantissa, int32_t shift) {
    return (int32_t)shift_half_even_wide(to_single((int64_t)sum * mantissa), shift);
}

#endif
