#pragma once
#include "esp_err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef uint32_t TickType_t;
typedef int BaseType_t;
typedef unsigned UBaseType_t;
typedef uint8_t StackType_t;
typedef struct task *TaskHandle_t;
typedef struct queue *QueueHandle_t;
#define portMAX_DELAY        ((TickType_t)0xffffffffu)
#define portNUM_PROCESSORS   2
#define configMAX_PRIORITIES 25
#define configTICK_RATE_HZ   1000u
#define pdPASS               1
#define pdMS_TO_TICKS(ms)    ((TickType_t)(ms))
