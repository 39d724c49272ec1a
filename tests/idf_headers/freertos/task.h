#pragma once
#include "freertos/FreeRTOS.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t task);
