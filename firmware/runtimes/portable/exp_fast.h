/*
 * exp_fast of esp-dl v1 (include/math/dl_math.hpp): (1 + x/256)^256 in single
 * precision, by squaring eight times. Not accurate, but what the chips compute.
 *
 * Its 1.0 is a double there; a sum of two singles in double precision, rounded
 * to single, is the single-precision sum, so one rounding is enough here.
 */
#ifndef PORTABLE_EXP_FAST_H
#define PORTABLE_EXP_FAST_H

#include "single.h"

/* Of x = q * 2^exponent, |q| < 2^17. -50 <= exponent <= 30. */
static inline uint32_t exp_fast(int32_t q, int32_t exponent) {
    const int32_t scale = exponent - 8; /* x / 256 = q * 2^scale */
    int64_t base;
    uint32_t power;

    base = scale < 0 ? ((int64_t)1 << -scale) + q : (int64_t)1 + (int64_t)q * ((int64_t)1 << scale);
    power = single_of((uint64_t)(base < 0 ? -base : base), scale < 0 ? scale : 0);
    for (int32_t step = 0; step < 8; step++) {
        power = single_product(power, power);
    }
    return power;
}

#endif
