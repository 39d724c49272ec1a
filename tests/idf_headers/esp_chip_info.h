#pragma once
#include "esp_idf_version.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef struct {
    int model;
    uint32_t features;
#if ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(5, 0, 0)
    uint16_t full_revision;
#endif
    uint16_t revision;
    uint8_t cores;
} esp_chip_info_t;
void esp_chip_info(esp_chip_info_t *info);
