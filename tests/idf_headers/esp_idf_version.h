#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define ESP_IDF_VERSION_VAL(major, minor, patch) (((major) << 16) | ((minor) << 8) | (patch))
#ifndef ESP_IDF_VERSION
#define ESP_IDF_VERSION ESP_IDF_VERSION_VAL(5, 5, 1)
#endif
const char *esp_get_idf_version(void);
