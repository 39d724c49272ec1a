/* The model in a flash partition, mapped into the address space, or linked into the app; RAM from the heap.
 */
#include "model_store.h"

#include "board.h"

#include "esp_heap_caps.h"
#include "esp_partition.h"
#include "sdkconfig.h"

#define ALIGNMENT 16u
/* Left for drivers and libraries that allocate later. */
#define INTERNAL_RESERVE 16384u

#if CONFIG_HARNESS_MODEL_IN_APP

/* model_in_app.S */
extern const uint8_t model_image_start[], model_image_end[];

const uint8_t *model_store_open(size_t *available) {
    *available = (size_t)(model_image_end - model_image_start);
    return model_image_start;
}

#else

#define LABEL   "model"
#define SIZE_AT 8u
#define ERASED  0xFFFFFFFFu

const uint8_t *model_store_open(size_t *available) {
    const esp_partition_t *partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, LABEL);
    esp_partition_mmap_handle_t handle;
    const void *mapped = NULL;
    uint32_t size = 0;

    *available = 0;
    /* Only what the image takes is mapped: the plain ESP32 has 4 MB of addresses for all its data. */
    if (partition == NULL || esp_partition_read(partition, SIZE_AT, &size, sizeof size) != ESP_OK ||
        size == 0 || size == ERASED)
        return NULL;
    if (size > partition->size)
        size = partition->size;
    if (esp_partition_mmap(partition, 0, size, ESP_PARTITION_MMAP_DATA, &mapped, &handle) != ESP_OK)
        return NULL;
    *available = size;
    return mapped;
}

#endif

uint8_t *model_ram_take(model_ram kind, size_t *bytes) {
    uint32_t caps = MALLOC_CAP_8BIT | (kind == MODEL_RAM_INTERNAL ? MALLOC_CAP_INTERNAL : MALLOC_CAP_SPIRAM);
    size_t reserve = kind == MODEL_RAM_INTERNAL ? INTERNAL_RESERVE : 0u;
    size_t largest = heap_caps_get_largest_free_block(caps);

    *bytes = 0;
    if (largest <= reserve + 2u * ALIGNMENT)
        return NULL;
    size_t size = (largest - reserve - ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    uint8_t *ram = heap_caps_aligned_alloc(ALIGNMENT, size, caps);
    if (ram == NULL)
        return NULL;
    board_set_arena(kind == MODEL_RAM_INTERNAL ? "internal" : "psram");
    *bytes = size;
    return ram;
}

void model_ram_give_back(uint8_t *ram) {
    heap_caps_free(ram);
}
