/*
 * TFLite's functions of int16 by tables: softmax by 513 samples with a straight line between
 * neighbours, sigmoid and tanh by one table of sigmoid(i / 24) in Q0.16.
 */
#ifndef PORTABLE_LOOKUP16_H
#define PORTABLE_LOOKUP16_H

#include <stdint.h>

#include "fixed_point.h"

/* `table` holds every 128th result from that of -32768 up, and one behind the last. */
static inline int32_t interpolate(const int16_t *table, int32_t x) {
    const int16_t *const sample = table + 256 + (x >> 7);

    return sample[0] + (((sample[1] - sample[0]) * (x & 0x7f) + 64) >> 7);
}

/* exp of `below`, a difference scaled such that -65535 is -10; Q0.15. */
static inline int32_t softmax16_exp(int32_t below, const int16_t *exponentials) {
    return interpolate(exponentials, clamp(below + INT16_MAX, INT16_MIN, INT16_MAX));
}

typedef struct {
    int32_t reciprocal; /* Q0.15 */
    int32_t shift;
} softmax16_scale;

/* 1 / sum for sum > 0 in Q16.15: it is brought to 1 <= 1 + x < 2, and `reciprocals` has 1 / (1 + x). */
static inline softmax16_scale softmax16_reciprocal(int32_t sum, const int16_t *reciprocals) {
    softmax16_scale scale = {0, 30};
    uint32_t mantissa = (uint32_t)sum;

    while (mantissa < UINT32_C(1) << 30) {
        mantissa <<= 1;
        scale.shift--;
    }
    const int32_t x = (int32_t)((mantissa + (1u << 13)) >> 14) - (1 << 16);

    scale.reciprocal = interpolate(reciprocals, clamp(x + INT16_MIN, INT16_MIN, INT16_MAX));
    return scale;
}

static inline int16_t softmax16_probability(int32_t exponential, softmax16_scale scale) {
    const int32_t result = (exponential * scale.reciprocal + (1 << (scale.shift - 1))) >> scale.shift;

    return (int16_t)clamp(result, 0, INT16_MAX);
}

/* x in units of 1 / (3 * 4096), rounded; 0 <= shift <= 31. */
static inline int32_t sigmoid16_input(int32_t x, int32_t multiplier, int32_t shift) {
    return (x * multiplier + (int32_t)((UINT32_C(1) << shift) >> 1)) >> shift;
}

/* Both functions are odd about their middle: the table knows no negative input. */
static inline int16_t logistic16(int32_t x, const uint16_t *table) {
    const uint32_t magnitude = (uint32_t)(x < 0 ? -x : x);
    const uint32_t place = magnitude >> 9;
    uint32_t result = UINT32_C(0x7fff) << 10;

    if (place < 255) {
        result = ((uint32_t)table[place] << 9) +
                 (magnitude & 0x1ffu) * (uint32_t)(table[place + 1] - table[place]);
    }
    result = x < 0 ? (UINT32_C(1) << 25) - result + (1u << 9) - 1u : result + (1u << 9);
    return (int16_t)(result >> 10);
}

/* 2 * sigmoid(2 x) - 1. */
static inline int16_t tanh16(int32_t x, const uint16_t *table) {
    const uint32_t magnitude = (uint32_t)(x < 0 ? -x : x);
    const uint32_t place = magnitude >> 8;
    int32_t result = 0xffff << 8;

    if (place < 255) {
        result = (table[place] << 8) + (int32_t)(magnitude & 0xffu) * (table[place + 1] - table[place]);
    }
    result -= 1 << 23;
    return (int16_t)(((x < 0 ? -result - 1 : result) + (1 << 7)) >> 8);
}

#endif
