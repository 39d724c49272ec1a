#pragma once
#include "freertos/FreeRTOS.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef struct {
    TaskHandle_t xHandle;
    const char *pcTaskName;
    UBaseType_t xTaskNumber;
    StackType_t *pxStackBase;
    uint32_t usStackHighWaterMark;
} TaskStatus_t;
UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t task);
TaskHandle_t xTaskGetCurrentTaskHandle(void);
/* With CONFIG_FREERTOS_USE_TRACE_FACILITY. */
UBaseType_t uxTaskGetSystemState(TaskStatus_t *statuses, UBaseType_t size, uint32_t *run_time);
