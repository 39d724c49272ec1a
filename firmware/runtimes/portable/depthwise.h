/*
 * The sums of one channel of a depthwise convolution along a row of the output.
 * The planner has bounded every sum: none overflows int32. Inputs are int8 or
 * int16, weights int8.
 *
 * Inlined into each layer, where the filter's size and the strides are
 * constants: the filter then stays in registers, and neighbouring pixels share
 * the inputs that their windows have in common.
 */
#ifndef PORTABLE_DEPTHWISE_H
#define PORTABLE_DEPTHWISE_H

#include <stdint.h>

/* At most so many pixels are summed before they are stored. */
enum { DEPTHWISE_PIXELS = 16 };

/* Where the inputs of a channel lie. */
typedef struct {
    int32_t rows;
    int32_t row_stride;
    int32_t taps;
    int32_t tap_stride;
    int32_t pixel_stride;
} channel_window;

#define DEPTHWISE_PART static inline __attribute__((always_inline))

/* Element `index` of an array whose elements have `size` bytes. */
DEPTHWISE_PART int32_t depthwise_input(const void *inputs, int32_t index, int32_t size) {
    return size == 2 ? ((const int16_t *)inputs)[index] : ((const int8_t *)inputs)[index];
}

/* One pixel, two or four neighbours. */
DEPTHWISE_PART void depthwise_add(int32_t *result, const void *input, int32_t size, const int8_t *weights,
                                  int32_t bias, channel_window window, int32_t pixels) {
    int32_t sums[4] = {bias, bias, bias, bias};

#pragma GCC unroll 8
    for (int32_t row = 0; row < window.rows; row++) {
#pragma GCC unroll 8
        for (int32_t tap = 0; tap < window.taps; tap++) {
            const int32_t place = row * window.row_stride + tap * window.tap_stride;
            const int32_t weight = weights[row * window.taps + tap];

            sums[0] += depthwise_input(input, place, size) * weight;
            if (pixels > 1) {
                sums[1] += depthwise_input(input, place + window.pixel_stride, size) * weight;
            }
            if (pixels > 2) {
                sums[2] += depthwise_input(input, place + 2 * window.pixel_stride, size) * weight;
                sums[3] += depthwise_input(input, place + 3 * window.pixel_stride, size) * weight;
            }
        }
    }
    result[0] = sums[0];
    if (pixels > 1) {
        result[1] = sums[1];
    }
    if (pixels > 2) {
        result[2] = sums[2];
        result[3] = sums[3];
    }
}

DEPTHWISE_PART void depthwise_row(int32_t *result, const void *input, int32_t size, const int8_t *weights,
                                  int32_t bias, channel_window window, int32_t pixels) {
    const int32_t step = window.pixel_stride * size;
    const uint8_t *const first = input;
    int32_t x = 0;

    for (; x < pixels - 3; x += 4) {
        depthwise_add(result + x, first + x * step, size, weights, bias, window, 4);
    }
    if (x < pixels - 1) {
        depthwise_add(result + x, first + x * step, size, weights, bias, window, 2);
        x += 2;
    }
    if (x < pixels) {
        depthwise_add(result + x, first + x * step, size, weights, bias, window, 1);
    }
}

/* The sums of `pixels` neighbours, at most DEPTHWISE_PIXELS. */
DEPTHWISE_PART void sum_channel(int32_t *result, const int8_t *input, const int8_t *weights, int32_t bias,
                                channel_window window, int32_t pixels) {
    depthwise_row(result, input, sizeof *input, weights, bias, window, pixels);
}

DEPTHWISE_PART void sum_channel16(int32_t *result, const int16_t *input, const int8_t *weights, int32_t bias,
                                  channel_window window, int32_t pixels) {
    depthwise_row(result, input, sizeof *input, weights, bias, window, pixels);
}

#endif
