/*
 * Sums, products and quotients of single-precision numbers in their bit
 * patterns, rounded to nearest even as IEEE 754 has it: what ESP-DL computes
 * with the chip's floats, bit for bit, on machines that have none.
 *
 * Operands are not negative; zero, subnormal numbers and infinity are among
 * them. Every NaN is SINGLE_NAN.
 */
#ifndef PORTABLE_SINGLE_H
#define PORTABLE_SINGLE_H

#include <stdint.h>

#define SINGLE_HIDDEN_BIT UINT32_C(0x800000)
#define SINGLE_ONE        UINT32_C(0x3F800000)
#define SINGLE_INFINITY   UINT32_C(0x7F800000)
#define SINGLE_NAN        UINT32_C(0x7FC00000)

/* mantissa * 2^(exponent - 150): bit 23 of the mantissa is set, unless it is 0. */
typedef struct {
    int32_t exponent;
    uint32_t mantissa;
} single_parts;

static inline single_parts single_split(uint32_t a) {
    single_parts parts = {(int32_t)(a >> 23), a & (SINGLE_HIDDEN_BIT - 1u)};

    if (parts.exponent != 0) {
        parts.mantissa |= SINGLE_HIDDEN_BIT;
        return parts;
    }
    parts.exponent = 1;
    while (parts.mantissa != 0 && parts.mantissa < SINGLE_HIDDEN_BIT) {
        parts.mantissa <<= 1;
        parts.exponent--;
    }
    return parts;
}

/* Drops `bits` bits; the lowest that is left remembers whether any was set. 0 <= bits <= 31. */
static inline uint32_t single_sticky_shift(uint32_t a, uint32_t bits) {
    return (a >> bits) | ((a & ((UINT32_C(1) << bits) - 1u)) != 0u ? 1u : 0u);
}

/* mantissa * 2^(exponent - 153), three bits more than are kept. Bit 26 is the highest set.
 * exponent < 512. */
static inline uint32_t single_round(int32_t exponent, uint32_t mantissa) {
    uint32_t rest, kept;

    if (exponent < 1) {
        mantissa = exponent < -25 ? 1u : single_sticky_shift(mantissa, (uint32_t)(1 - exponent));
        exponent = 0;
    }
    rest = mantissa & 7u;
    kept = mantissa >> 3;
    kept += rest > 4u || (rest == 4u && (kept & 1u) != 0u) ? 1u : 0u;
    /* A mantissa that rounding carries to 2^24 raises the exponent by itself. */
    kept += exponent > 0 ? (uint32_t)(exponent - 1) << 23 : 0u;
    return kept < SINGLE_INFINITY ? kept : SINGLE_INFINITY;
}

/* value * 2^scale. -126 <= scale <= 126. */
static inline uint32_t single_of(uint64_t value, int32_t scale) {
    uint32_t lost = 0;

    if (value == 0) {
        return 0;
    }
    while (value >= SINGLE_HIDDEN_BIT << 4) {
        lost |= (uint32_t)value & 1u;
        value >>= 1;
        scale++;
    }
    while (value < SINGLE_HIDDEN_BIT << 3) {
        value <<= 1;
        scale--;
    }
    return single_round(scale + 153, (uint32_t)value | lost);
}

static inline uint32_t single_sum(uint32_t a, uint32_t b) {
    const single_parts large = single_split(a > b ? a : b);
    const single_parts small = single_split(a > b ? b : a);
    const int32_t distance = large.exponent - small.exponent;
    int32_t exponent = large.exponent;
    uint32_t sum = large.mantissa << 3;

    if (distance > 26 || small.mantissa == 0 || a >= SINGLE_INFINITY || b >= SINGLE_INFINITY) {
        return a > b ? a : b;
    }
    sum += single_sticky_shift(small.mantissa << 3, (uint32_t)distance);
    if (sum >= SINGLE_HIDDEN_BIT << 4) {
        sum = single_sticky_shift(sum, 1);
        exponent++;
    }
    return single_round(exponent, sum);
}

static inline uint32_t single_product(uint32_t a, uint32_t b) {
    const single_parts left = single_split(a);
    const single_parts right = single_split(b);
    const uint64_t product = (uint64_t)left.mantissa * right.mantissa;
    int32_t exponent = left.exponent + right.exponent - 127;
    uint32_t mantissa = (uint32_t)(product >> 20) | ((product & 0xFFFFFu) != 0u ? 1u : 0u);

    if (a > SINGLE_INFINITY || b > SINGLE_INFINITY) {
        return SINGLE_NAN;
    }
    if (a == SINGLE_INFINITY || b == SINGLE_INFINITY) {
        return a == 0 || b == 0 ? SINGLE_NAN : SINGLE_INFINITY;
    }
    if (product == 0) {
        return 0;
    }
    if (mantissa >= SINGLE_HIDDEN_BIT << 4) {
        mantissa = single_sticky_shift(mantissa, 1);
        exponent++;
    }
    return single_round(exponent, mantissa);
}

/* a / b for b above 0; a is finite, or not above b. */
static inline uint32_t single_quotient(uint32_t a, uint32_t b) {
    const single_parts divisor = single_split(b);
    const single_parts dividend = single_split(a);
    uint32_t rest = dividend.mantissa;
    uint32_t quotient = 0;
    int32_t exponent = dividend.exponent - divisor.exponent + 127;

    if (b >= SINGLE_INFINITY) {
        return a >= SINGLE_INFINITY || b > SINGLE_INFINITY ? SINGLE_NAN : 0;
    }
    if (rest == 0) {
        return 0;
    }
    if (rest < divisor.mantissa) {
        rest <<= 1;
        exponent--;
    }
    for (int32_t bit = 0; bit < 26; bit++) {
        quotient <<= 1;
        if (rest >= divisor.mantissa) {
            rest -= divisor.mantissa;
            quotient |= 1u;
        }
        rest <<= 1;
    }
    return single_round(exponent, (quotient << 1) | (rest != 0u ? 1u : 0u));
}

#endif
