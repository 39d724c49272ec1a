/*
 * How padding is handled, never in an inner loop: a pool asks which of its taps
 * lie inside the image, a convolution reads its rows from a copy with a margin.
 */
#ifndef PORTABLE_WINDOW_H
#define PORTABLE_WINDOW_H

#include <stdint.h>
#include <string.h>

/* Taps first <= t < end are inside; none when first >= end. */
typedef struct {
    int32_t first;
    int32_t end;
} tap_range;

/* Tap t reads position origin + t * dilation of an axis `size` long. */
static inline tap_range taps_inside(int32_t origin, int32_t taps, int32_t dilation, int32_t size) {
    tap_range range = {0, taps};

    while (range.first < taps && origin + range.first * dilation < 0) {
        range.first++;
    }
    while (range.end > range.first && origin + (range.end - 1) * dilation >= size) {
        range.end--;
    }
    return range;
}

/* The rows of an image under a row of windows, with margins left and right. Sizes
 * in bytes; `fill` is what outside the image stands for zero. */
typedef struct {
    int32_t rows;
    int32_t dilation;
    int32_t image_rows;
    int32_t image_row_size;
    int32_t left_size;
    int32_t inside_size;
    int32_t right_size;
    int32_t fill;
} margin_rows;

/* Copies rows top, top + dilation, ... of the image. */
static inline void copy_with_margins(void *copy, const void *image, const margin_rows *shape, int32_t top) {
    const int32_t size = shape->left_size + shape->inside_size + shape->right_size;
    uint8_t *to = copy;

    for (int32_t i = 0; i < shape->rows; i++, to += size) {
        const int32_t row = top + i * shape->dilation;

        if (row < 0 || row >= shape->image_rows) {
            memset(to, shape->fill, (size_t)size);
            continue;
        }
        memset(to, shape->fill, (size_t)shape->left_size);
        memcpy(to + shape->left_size, (const uint8_t *)image + row * shape->image_row_size,
               (size_t)shape->inside_size);
        memset(to + shape->left_size + shape->inside_size, shape->fill, (size_t)shape->right_size);
    }
}

#endif
