/*
 * exp(-distance * scale) as the bits of a single-precision number, rounded to
 * nearest, for a distance of 16 bits: the product of two exponentials, that of
 * the upper byte and that of the lower, from tables the planner makes.
 */
#ifndef PORTABLE_EXPONENTIAL_H
#define PORTABLE_EXPONENTIAL_H

#include <stdint.h>

/* The upper half of a product. What the lower partial products would carry into
 * it is left out: less than three units, where a rounding decides at 2^39. */
static inline uint64_t upper_product(uint64_t a, uint64_t b) {
    const uint64_t a_high = a >> 32;
    const uint64_t b_high = b >> 32;

    return a_high * b_high + ((a_high * (uint32_t)b) >> 32) + ((b_high * (uint32_t)a) >> 32);
}

/* An exponential is mantissas[k] / 2^(63 + shifts[k]), mantissas[k] >= 2^63; first
 * the 256 of the upper byte, then those of the lower. */
static inline uint32_t single_exponential(uint32_t distance, const uint64_t *mantissas,
                                          const uint8_t *shifts) {
    const uint32_t upper = distance >> 8;
    const uint32_t lower = 256u + (distance & 255u);
    uint64_t mantissa = upper_product(mantissas[upper], mantissas[lower]);
    int32_t exponent = 128 - shifts[upper] - shifts[lower];
    int32_t dropped = 40;

    if (mantissa < UINT64_C(1) << 63) {
        mantissa <<= 1;
        exponent--;
    }
    if (exponent < 1) { /* below the normal numbers */
        dropped += 1 - exponent;
        exponent = 1;
    }
    if (dropped > 64) {
        return 0;
    }
    /* No exponential lies halfway but exp(0), which loses nothing. */
    mantissa = ((mantissa >> (dropped - 1)) + 1u) >> 1;
    return ((uint32_t)(exponent - 1) << 23) + (uint32_t)mantissa;
}

#endif
