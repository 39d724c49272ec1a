/* platform_get_task() of platforms/esp_idf over a FreeRTOS of argv[1] tasks, of which "harness" asks: prints
 * what it gives, asked twice. Everything else of that platform is left unresolved. */
#include "platform.h"

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned alive;
static const char *const names[] = {"IDLE0", "esp_timer", "harness", "ipc0"};

TaskHandle_t xTaskGetCurrentTaskHandle(void) {
    return (TaskHandle_t)(uintptr_t)3;
}

UBaseType_t uxTaskGetSystemState(TaskStatus_t *statuses, UBaseType_t size, uint32_t *run_time) {
    (void)run_time;
    if (alive > size)
        return 0;
    memset(statuses, 0, size * sizeof *statuses);
    for (unsigned i = 0; i < alive; i++) {
        statuses[i].xHandle = (TaskHandle_t)(uintptr_t)(i + 1);
        statuses[i].pcTaskName = names[i % 4];
        statuses[i].usStackHighWaterMark = 100 * (i + 1);
    }
    return alive;
}

int main(int count, char **values) {
    alive = count == 2 ? (unsigned)atoi(values[1]) : 0;
    for (int asked = 0; asked < 2; asked++) {
        platform_task task;
        for (uint16_t i = 0; platform_get_task(i, &task); i++)
            printf("%s %ld %lu\n", task.name,
                   task.stack_bytes == PLATFORM_UNKNOWN ? -1L : (long)task.stack_bytes,
                   (unsigned long)task.stack_low_bytes);
    }
    return 0;
}
