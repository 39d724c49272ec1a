#pragma once
#include "esp_idf_version.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(5, 0, 0)
uint32_t esp_cpu_get_ccount(void);
#else
uint32_t esp_cpu_get_cycle_count(void);
#endif
