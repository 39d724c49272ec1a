#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define MALLOC_CAP_8BIT     4u
#define MALLOC_CAP_SPIRAM   1024u
#define MALLOC_CAP_INTERNAL 2048u
size_t heap_caps_get_total_size(uint32_t caps);
size_t heap_caps_get_minimum_free_size(uint32_t caps);
size_t heap_caps_get_largest_free_block(uint32_t caps);
void *heap_caps_aligned_alloc(size_t alignment, size_t size, uint32_t caps);
void heap_caps_free(void *memory);
