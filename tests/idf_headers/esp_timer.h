#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
int64_t esp_timer_get_time(void);
