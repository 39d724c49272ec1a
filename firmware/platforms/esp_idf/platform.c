/*
 * A chip under ESP-IDF. Time is esp_timer's, the count is the cycle counter of
 * the core that runs the engine, carried to 64 bits by it. The task watchdog is
 * off (sdkconfig.defaults): an inference may keep a core for seconds. The
 * interrupt watchdog stays, and the host gives up and resets what hangs.
 */
#include "platform.h"

#include "board.h"
#include "core.h"
#include "older_idf.h"
#include "serial.h"

#include "esp_cpu.h"
#include "esp_heap_caps.h"
#include "esp_rom_sys.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/idf_additions.h"
#include "freertos/task.h"
#include "sdkconfig.h"

#define PRIORITY (configMAX_PRIORITIES / 2)
/* The last core: the system's own tasks and timers are on the first. */
#define CORE (portNUM_PROCESSORS - 1)
/* The system's own are 5 to 8. */
#define MAX_TASKS 16u

static platform_info info = {
    .name = "esp_idf",
    .fidelity = "silicon",
    .counter = "cycles",
    .counter_scale = "1/1",
    .counter_exact = false,
    .rx_window = SERIAL_RX_BYTES,
};

static uint32_t baud_wanted;
static uint32_t first_cycles;
static int64_t first_us;

static void run(void *unused) {
    (void)unused;
    core_run();
}

void app_main(void) {
    if (xTaskCreatePinnedToCore(run, "harness", CONFIG_HARNESS_STACK_BYTES, NULL, PRIORITY, NULL, CORE) !=
        pdPASS)
        esp_system_abort("no RAM for the task that runs the network");
}

void platform_init(void) {
    serial_open();
    board_identify();
    if (board_is_emulated())
        info.fidelity = "soc";
    first_us = esp_timer_get_time();
    first_cycles = esp_cpu_get_cycle_count();
}

const platform_info *platform_get_info(void) {
    return &info;
}

platform_boot_reason platform_get_boot_reason(void) {
    switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
        return PLATFORM_BOOT_POWER_ON;
    case ESP_RST_SW:
        return PLATFORM_BOOT_RESET;
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
        return PLATFORM_BOOT_WATCHDOG;
    case ESP_RST_PANIC:
#if !OLDER_IDF
    case ESP_RST_CPU_LOCKUP:
#endif
        return PLATFORM_BOOT_PANIC;
    case ESP_RST_BROWNOUT:
#if !OLDER_IDF
    case ESP_RST_PWR_GLITCH:
#endif
        return PLATFORM_BOOT_BROWN_OUT;
    case ESP_RST_EXT:
#if !OLDER_IDF
    case ESP_RST_USB:
    case ESP_RST_JTAG:
#endif
        return PLATFORM_BOOT_PIN;
    default:
        return PLATFORM_BOOT_UNKNOWN;
    }
}

size_t platform_read(uint8_t *data, size_t size, uint32_t timeout_us) {
    const uint32_t tick_us = 1000000u / configTICK_RATE_HZ;
    TickType_t ticks = portMAX_DELAY;
    if (timeout_us != UINT32_MAX)
        ticks = timeout_us / tick_us + 1u;
    return serial_read(data, size, ticks);
}

void platform_write(const uint8_t *data, size_t size) {
    serial_write(data, size);
}

void platform_flush(void) {
    serial_drain();
    if (baud_wanted != 0)
        serial_set_baud(baud_wanted);
    baud_wanted = 0;
}

bool platform_set_baud(uint32_t baud) {
    if (!serial_can_make(baud))
        return false;
    baud_wanted = baud;
    return true;
}

uint32_t platform_get_baud(void) {
    return serial_get_baud();
}

void platform_measure_begin(void) {
    serial_drain(); /* no interrupt of an answer still being sent */
}

void platform_measure_end(void) {
}

uint64_t platform_count(void) {
    uint32_t cycles = esp_cpu_get_cycle_count() - first_cycles;
    uint64_t passed_us = (uint64_t)(esp_timer_get_time() - first_us);
    /* The counter starts over every 2^32 cycles (18 s at 240 MHz); the clock tells how often. */
    uint64_t about = passed_us * esp_rom_get_cpu_ticks_per_us();
    uint64_t half = UINT64_C(1) << 31;
    uint64_t turns = about + half > cycles ? (about + half - cycles) >> 32 : 0;
    return turns << 32 | cycles;
}

uint64_t platform_microseconds(void) {
    return (uint64_t)esp_timer_get_time();
}

void platform_get_memory(platform_memory *memory) {
    *memory = (platform_memory){
        .stack_bytes = CONFIG_HARNESS_STACK_BYTES,
        .stack_used_bytes = CONFIG_HARNESS_STACK_BYTES - (uint32_t)uxTaskGetStackHighWaterMark(NULL),
        .heap_bytes = (uint32_t)heap_caps_get_total_size(MALLOC_CAP_8BIT),
        .heap_low_bytes = (uint32_t)heap_caps_get_minimum_free_size(MALLOC_CAP_8BIT),
        .static_ram_bytes = PLATFORM_UNKNOWN,
    };
}

/* FreeRTOS keeps the least ever free of every stack, and the size of none. */
bool platform_get_task(uint16_t index, platform_task *task) {
    static TaskStatus_t tasks[MAX_TASKS];
    static uint16_t count;

    if (index == 0) {
        TaskHandle_t own = xTaskGetCurrentTaskHandle();
        /* 0 when there are more than MAX_TASKS: none is better than some. */
        count = (uint16_t)uxTaskGetSystemState(tasks, MAX_TASKS, NULL);
        for (uint16_t i = 1; i < count; i++) {
            if (tasks[i].xHandle == own) {
                TaskStatus_t first = tasks[0];
                tasks[0] = tasks[i];
                tasks[i] = first;
            }
        }
    }
    if (index >= count)
        return false;
    task->name = tasks[index].pcTaskName;
    task->stack_bytes = index == 0 ? CONFIG_HARNESS_STACK_BYTES : PLATFORM_UNKNOWN;
    task->stack_low_bytes = (uint32_t)tasks[index].usStackHighWaterMark;
    return true;
}

void platform_reset(void) {
    esp_restart();
}
