#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
const char *esp_get_idf_version(void);
