/*
 * The reciprocal of a softmax row's sum and the probabilities it yields, as
 * TFLite's reference kernel computes them in gemmlowp fixed point.
 */
#ifndef PORTABLE_SOFTMAX_H
#define PORTABLE_SOFTMAX_H

#include <stdint.h>

#include "fixed_point.h"

typedef struct {
    int32_t reciprocal; /* Q0.31 */
    int32_t shift;
} softmax_scale;

/* x * 2^shift, saturating. */
static inline int32_t shift_left_saturating(int32_t x, int32_t shift) {
    const int32_t limit = (int32_t)((UINT32_C(1) << (31 - shift)) - 1u);

    return x > limit ? INT32_MAX : x < -limit ? INT32_MIN : x * (1 << shift);
}

/* 1 / sum for sum > 0 in Q12.19. The sum is brought to 1 <= 1 + a < 2, then
 * 1 / (1 + a) is found by three Newton-Raphson steps from 48/17 - 32/17 x. */
static inline softmax_scale softmax_reciprocal(int32_t sum) {
    const int32_t one = 1 << 29; /* Q2.29, as x below */
    uint32_t mantissa = (uint32_t)sum;
    int32_t headroom = 0;
    softmax_scale scale;

    while ((mantissa & 0x80000000u) == 0u) {
        mantissa <<= 1;
        headroom++;
    }

    /* (1 + a) / 2 in Q0.31; a is the mantissa without its leading 1. */
    const int32_t half_denominator = (int32_t)(mantissa >> 1);
    int32_t x = 1515870810 + multiply_q31(half_denominator, -1010580540);

    for (int32_t step = 0; step < 3; step++) {
        const int32_t error = one - multiply_q31(half_denominator, x);

        x += shift_left_saturating(multiply_q31(x, error), 2);
    }
    scale.reciprocal = shift_left_saturating(x, 1);
    scale.shift = 12 - headroom + 31 - 8;
    return scale;
}

/* exponential / sum with scale 1/256 and zero point -128. */
static inline int8_t softmax_probability(int32_t exponential, softmax_scale scale) {
    const int32_t product = multiply_q31(scale.reciprocal, exponential);

    return (int8_t)clamp(divide_by_power_of_two(product, scale.shift) - 128, -128, 127);
}

#endif
