/*
 * The dot product of int8 vectors where neither operand can be laid out ahead:
 * of two activations. The planner has bounded each sum: none overflows int32.
 */
#ifndef PORTABLE_DOT_H
#define PORTABLE_DOT_H

#include <stdint.h>

/* sum + a . b over every stride-th element. */
static inline int32_t dot_strided(int32_t sum, const int8_t *a, int32_t a_stride, const int8_t *b,
                                  int32_t b_stride, int32_t count) {
    for (; count > 0; count--) {
        sum += *a * *b;
        a += a_stride;
        b += b_stride;
    }
    return sum;
}

#endif
