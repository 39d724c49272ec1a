/*
 * Dot products of int8 vectors, the inner loop of every convolution and fully
 * connected layer. The planner has bounded each sum: none overflows int32.
 *
 * Four products a turn: the loop's own instructions would otherwise be a third
 * of the work, and no compiler unrolls at -O2.
 */
#ifndef PORTABLE_DOT_H
#define PORTABLE_DOT_H

#include <stdint.h>

/* sum + a . b */
static inline int32_t dot(int32_t sum, const int8_t *a, const int8_t *b, int32_t count) {
    for (; count >= 4; count -= 4) {
        sum += a[0] * b[0];
        sum += a[1] * b[1];
        sum += a[2] * b[2];
        sum += a[3] * b[3];
        a += 4;
        b += 4;
    }
    for (; count > 0; count--) {
        sum += *a++ * *b++;
    }
    return sum;
}

/* sum + (a + offset) . b: beside padding the input's zero point cannot go into
 * the bias, because the taps that fall outside do not count. */
static inline int32_t dot_offset(int32_t sum, const int8_t *a, int32_t offset, const int8_t *b,
                                 int32_t count) {
    for (; count >= 4; count -= 4) {
        sum += (a[0] + offset) * b[0];
        sum += (a[1] + offset) * b[1];
        sum += (a[2] + offset) * b[2];
        sum += (a[3] + offset) * b[3];
        a += 4;
        b += 4;
    }
    for (; count > 0; count--) {
        sum += (*a++ + offset) * *b++;
    }
    return sum;
}

/* The same over every stride-th element: one channel of a depthwise filter. */
static inline int32_t dot_strided(int32_t sum, const int8_t *a, int32_t a_stride, int32_t offset,
                                  const int8_t *b, int32_t b_stride, int32_t count) {
    for (; count > 0; count--) {
        sum += (*a + offset) * *b;
        a += a_stride;
        b += b_stride;
    }
    return sum;
}

#endif
