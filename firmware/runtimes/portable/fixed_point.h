/*
 * The fixed-point arithmetic of TFLite's int8 operators, bit for bit: a real
 * multiplier is a Q0.31 integer and a power of two, and a product is rounded
 * twice (gemmlowp's double rounding, as tflite-micro and ESP-NN do it).
 *
 * Generated code calls these with constants that the planner has checked; no
 * function here tests its arguments. Signed right shifts are arithmetic, as on
 * every compiler for the supported targets.
 */
#ifndef PORTABLE_FIXED_POINT_H
#define PORTABLE_FIXED_POINT_H

#include <stdint.h>

#include "instruction_set.h"

/* a * b / 2^31, rounded to nearest. gemmlowp saturates the one case that does
 * not fit, INT32_MIN * INT32_MIN; here one factor is always above INT32_MIN.
 * Half a unit is added before a floor: the same as gemmlowp's sign-dependent
 * nudge before a division that truncates. */
#if HIGH_PRODUCT
static inline int32_t multiply_q31(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}
#else
/* Schoolbook in halves of 16 bits; `middle` and `other` are the product's bits from 16 up, one with those
 * of the other that belong to it. A function of its own: GCC would call one for 64 bits each time. */
static __attribute__((noinline, unused)) int32_t multiply_q31(int32_t a, int32_t b) {
    const int32_t a_low = a & 0xffff;
    const int32_t b_low = b & 0xffff;
    const int32_t lowest = (int32_t)((uint32_t)a_low * (uint32_t)b_low >> 16);
    const int32_t middle = (a >> 16) * b_low + lowest;
    const int32_t other = (b >> 16) * a_low + (middle & 0xffff);
    const int32_t upper = (a >> 16) * (b >> 16) + (middle >> 16) + (other >> 16);

    return upper * 2 + (((other >> 14 & 3) + 1) >> 1);
}
#endif

/* x / 2^shift, rounded to nearest, halves away from zero. 0 <= shift <= 31. */
static inline int32_t divide_by_power_of_two(int32_t x, int32_t shift) {
    const int32_t mask = (int32_t)((UINT32_C(1) << shift) - 1u);
    const int32_t remainder = x & mask;
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);

    return (x >> shift) + (remainder > threshold ? 1 : 0);
}

/* x * multiplier * 2^-31 * 2^-right_shift. */
static inline int32_t requantise(int32_t x, int32_t multiplier, int32_t right_shift) {
    return divide_by_power_of_two(multiply_q31(x, multiplier), right_shift);
}

/* x * multiplier * 2^-31 * 2^shift, for scales above and below 1. The planner
 * has made sure that x * 2^shift fits. */
static inline int32_t requantise_any(int32_t x, int32_t multiplier, int32_t shift) {
    return shift > 0 ? multiply_q31(x * (1 << shift), multiplier) : requantise(x, multiplier, -shift);
}

/* x * multiplier / 2^31, rounded to nearest. |x| <= 2^29, 0 <= multiplier. */
static inline int32_t multiply_positive_q31(int32_t x, int32_t multiplier) {
#if HIGH_PRODUCT
    /* Rounding a shift by 32 adds the upper bit of what is dropped. */
    const int64_t product = (int64_t)x * ((uint32_t)multiplier << 1);

    return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
#else
    /* Schoolbook in halves of 16 bits, that of x rounded so that no partial sum leaves 32 bits.
     * The lowest product's own lower half cannot change the result. */
    const int32_t high = (x + (1 << 15)) >> 16;
    const int32_t low = x - high * (1 << 16);
    const int32_t multiplier_high = multiplier >> 16;
    const int32_t multiplier_low = multiplier & 0xffff;
    const int32_t middle = high * multiplier_low + low * multiplier_high + ((low * multiplier_low) >> 16);

    return high * multiplier_high * 2 + ((middle + (1 << 14)) >> 15);
#endif
}

/* requantise() plus the zero point, for what sums of layers nearly always are: |x| <= 2^29,
 * 0 <= multiplier, 1 <= right_shift <= 23, |zero_point| <= 128. One half and the zero point
 * are a constant of the channel; the sign takes one off a negative half. */
static inline int32_t requantise_sum(int32_t x, int32_t multiplier, int32_t right_shift, int32_t zero_point) {
    const int32_t product = multiply_positive_q31(x, multiplier);
    const int32_t added = (1 << (right_shift - 1)) + zero_point * (1 << right_shift);

    return (product + (product >> 31) + added) >> right_shift;
}

static inline int32_t clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

/* A sum of 64 bits to limits of 32. */
static inline int32_t clamp_wide(int64_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : (int32_t)x;
}

#endif
