/*
 * Sum and quotient of positive single-precision numbers in their bit patterns,
 * rounded to nearest even as IEEE 754 has it: what ESP-DL's Softmax computes
 * with the chip's floats, bit for bit, on machines that have none.
 *
 * Operands are not negative, a divisor is normal, and no sum overflows: the
 * planner has checked where they come from. A quotient is never above one.
 */
#ifndef PORTABLE_SOFTMAX_FLOAT_H
#define PORTABLE_SOFTMAX_FLOAT_H

#include <stdint.h>

#define SINGLE_HIDDEN_BIT UINT32_C(0x800000)

/* Numbers below the normal ones have the lowest exponent and no hidden bit. */
static inline uint32_t single_mantissa(uint32_t a) {
    return (a & (SINGLE_HIDDEN_BIT - 1u)) | (a < SINGLE_HIDDEN_BIT ? 0u : SINGLE_HIDDEN_BIT);
}

static inline uint32_t single_exponent(uint32_t a) {
    return a < SINGLE_HIDDEN_BIT ? 1u : a >> 23;
}

/* Drops `bits` bits; the lowest that is left remembers whether any was set. 0 <= bits <= 31. */
static inline uint32_t single_sticky_shift(uint32_t a, uint32_t bits) {
    return (a >> bits) | ((a & ((UINT32_C(1) << bits) - 1u)) != 0u ? 1u : 0u);
}

/* Rounds away the three extra bits that both operations carry. */
static inline uint32_t single_round(uint32_t a) {
    const uint32_t rest = a & 7u;
    const uint32_t kept = a >> 3;

    return kept + (rest > 4u || (rest == 4u && (kept & 1u) != 0u) ? 1u : 0u);
}

static inline uint32_t single_sum(uint32_t a, uint32_t b) {
    const uint32_t large = a > b ? a : b;
    const uint32_t small = a > b ? b : a;
    const uint32_t distance = single_exponent(large) - single_exponent(small);
    uint32_t exponent = single_exponent(large);
    uint32_t sum;

    if (distance > 26u) {
        return large;
    }
    sum = (single_mantissa(large) << 3) + single_sticky_shift(single_mantissa(small) << 3, distance);
    if (sum >= SINGLE_HIDDEN_BIT << 4) {
        sum = single_sticky_shift(sum, 1);
        exponent++;
    }
    /* A mantissa that rounding carries to 2^24 raises the exponent by itself. */
    return (exponent << 23) + (single_round(sum) - SINGLE_HIDDEN_BIT);
}

/* a / b for a <= b, b normal. */
static inline uint32_t single_quotient(uint32_t a, uint32_t b) {
    const uint32_t divisor = single_mantissa(b);
    uint32_t rest = single_mantissa(a);
    uint32_t quotient = 0;
    int32_t exponent = (int32_t)single_exponent(a) - (int32_t)single_exponent(b) + 127;

    if (a == 0u) {
        return 0;
    }
    while (rest < divisor) {
        rest <<= 1;
        exponent--;
    }
    for (int32_t bit = 0; bit < 26; bit++) {
        quotient <<= 1;
        if (rest >= divisor) {
            rest -= divisor;
            quotient |= 1u;
        }
        rest <<= 1;
    }
    quotient = (quotient << 1) | (rest != 0u ? 1u : 0u);
    if (exponent >= 1) {
        return ((uint32_t)exponent << 23) + (single_round(quotient) - SINGLE_HIDDEN_BIT);
    }
    if (exponent < -23) {
        return 0; /* below half the smallest subnormal */
    }
    return single_round(single_sticky_shift(quotient, (uint32_t)(1 - exponent)));
}

#endif
