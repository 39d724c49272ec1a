#pragma once
#include "esp_idf_version.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(5, 0, 0)
uint32_t esp_rom_get_cpu_ticks_per_us(void);
#endif
