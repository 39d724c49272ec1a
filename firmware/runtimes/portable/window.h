/*
 * Which taps of a filter lie inside the image: how padding is handled, once per
 * output row and column and never in the inner loop.
 */
#ifndef PORTABLE_WINDOW_H
#define PORTABLE_WINDOW_H

#include <stdint.h>

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

#endif
