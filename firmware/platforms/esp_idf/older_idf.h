/*
 * What ESP-IDF 4.4 and 5.0, which esp-dl v1 needs, call otherwise than 5.4 and
 * later. Names as in the releases 4.4.7 and 5.0.7; no other is provided for.
 */
#ifndef OLDER_IDF_H
#define OLDER_IDF_H

#include "esp_idf_version.h"

#define OLDER_IDF (ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(5, 4, 0))

#if ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(5, 0, 0)
#include "esp_cpu.h"
#include "esp_private/esp_clk.h"
#define esp_cpu_get_cycle_count()      esp_cpu_get_ccount()
#define esp_rom_get_cpu_ticks_per_us() ((uint32_t)esp_clk_cpu_freq() / 1000000u)
#define UART_SCLK_DEFAULT              UART_SCLK_APB
#define CHIP_REVISION(chip)            ((chip).full_revision)
#else
#define CHIP_REVISION(chip) ((chip).revision)
#endif

#endif
