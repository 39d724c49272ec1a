/*
 * A heap of several regions with gaps between them, as a chip has it: each block is
 * taken when the layer that it begins with runs, and given back after its last one.
 */
#ifndef PORTABLE_REGION_HEAP_H
#define PORTABLE_REGION_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REGION_HEAP_ALIGNMENT = 16, REGION_HEAP_BLOCK_OVERHEAD = 16 };

typedef struct {
    uint8_t *start;
    uint32_t bytes;
} heap_region;

/* `data` is NULL while the block is not taken; else it lies in `region`. Layer -1 is before
 * the first. `refusal` is what is said when no region has room for it. */
typedef struct {
    uint8_t *data;
    const heap_region *region;
    uint32_t bytes;
    int32_t first;
    int32_t last;
    const char *refusal;
} heap_block;

typedef struct {
    const heap_region *regions;
    heap_block *blocks;
    uint32_t region_count;
    uint32_t block_count;
    uint32_t most_used_bytes;
} region_heap;

/* With what a heap keeps for itself in front of each block. */
static uint32_t heap_block_size(const heap_block *block) {
    const uint32_t aligned = (block->bytes + REGION_HEAP_ALIGNMENT - 1u) / REGION_HEAP_ALIGNMENT;

    return aligned * REGION_HEAP_ALIGNMENT + REGION_HEAP_BLOCK_OVERHEAD;
}

/* The lowest place for `size` bytes in one region; NULL if there is none. */
static uint8_t *heap_gap(const region_heap *heap, const heap_region *region, uint32_t size) {
    uint32_t at = 0;
    bool moved = true;

    while (moved) {
        moved = false;
        for (uint32_t i = 0; i < heap->block_count; i++) {
            const heap_block *other = &heap->blocks[i];
            if (other->data == NULL || other->region != region) {
                continue;
            }
            const uint32_t begin = (uint32_t)(other->data - region->start) - REGION_HEAP_BLOCK_OVERHEAD;
            const uint32_t end = begin + heap_block_size(other);
            if (at < end && begin < at + size) {
                at = end;
                moved = true;
            }
        }
    }
    return at + size <= region->bytes ? region->start + at : NULL;
}

/* Takes all blocks that begin with `layer`. NULL, or the refusal of the first that found no room. */
static const char *heap_begin(region_heap *heap, int32_t layer) {
    uint32_t used = 0;

    for (uint32_t i = 0; i < heap->block_count; i++) {
        heap_block *block = &heap->blocks[i];
        if (block->first == layer) {
            for (uint32_t r = 0; block->data == NULL && r < heap->region_count; r++) {
                uint8_t *gap = heap_gap(heap, &heap->regions[r], heap_block_size(block));
                block->region = &heap->regions[r];
                block->data = gap == NULL ? NULL : gap + REGION_HEAP_BLOCK_OVERHEAD;
            }
            if (block->data == NULL) {
                return block->refusal;
            }
        }
        used += block->data == NULL ? 0 : heap_block_size(block);
    }
    heap->most_used_bytes = used > heap->most_used_bytes ? used : heap->most_used_bytes;
    return NULL;
}

/* Gives back all blocks that end with `layer`. */
static void heap_end(region_heap *heap, int32_t layer) {
    for (uint32_t i = 0; i < heap->block_count; i++) {
        if (heap->blocks[i].last <= layer) {
            heap->blocks[i].data = NULL;
        }
    }
}

/* Gives everything back and takes what is alive before the first layer: the inputs. */
static const char *heap_restart(region_heap *heap) {
    for (uint32_t i = 0; i < heap->block_count; i++) {
        heap->blocks[i].data = NULL;
    }
    return heap_begin(heap, -1);
}

#endif
