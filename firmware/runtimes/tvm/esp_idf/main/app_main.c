/*
 * Runs the network on one stored sample and prints what it costs and gives:
 * times, scores, workspace, and whether every byte is the expected one.
 * `harness parse` reads these lines (dialect tvm).
 */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "esp_timer.h"
#include "input_data.h"
#include "output_data.h"

enum { RUNS = 5 }; /* the first one also fills the flash cache */

static float value(const engine_tensor *tensor, const void *data, uint32_t element) {
    float real;

    if (tensor->dtype == ENGINE_FLOAT32) {
        memcpy(&real, (const uint8_t *)data + element * sizeof real, sizeof real);
        return real;
    }
    memcpy(&real, &tensor->scale_bits, sizeof real);
    return (float)(((const int8_t *)data)[element] - tensor->zero_point) * real;
}

static uint32_t element_bytes(const engine_tensor *tensor) {
    return tensor->dtype == ENGINE_FLOAT32 ? sizeof(float) : sizeof(int8_t);
}

static void print_scores(const engine_tensor *tensor, const void *data) {
    for (uint32_t i = 0; i < tensor->bytes / element_bytes(tensor); i++) {
        printf("%f, ", (double)value(tensor, data, i));
    }
    printf("\n");
}

static uint32_t differing(const engine_tensor *tensor, const uint8_t *data, const uint8_t *expected) {
    const uint32_t size = element_bytes(tensor);
    uint32_t count = 0;

    for (uint32_t at = 0; at < tensor->bytes; at += size) {
        count += memcmp(data + at, expected + at, size) != 0 ? 1u : 0u;
    }
    return count;
}

static const char *run(long *time_us) {
    const engine_info *info = engine_get_info();
    const char *failure;
    int64_t start;

    for (uint16_t i = 0; i < info->inputs; i++) {
        memcpy(engine_input_data(i), input_data[i], engine_input(i)->bytes);
    }
    start = esp_timer_get_time();
    failure = engine_invoke(info->layers, NULL, NULL);
    *time_us = (long)(esp_timer_get_time() - start);
    return failure;
}

void app_main(void);

void app_main(void) {
    const engine_info *info = engine_get_info();
    const char *failure = engine_init();
    engine_memory memory;

    printf("model %s, artifact %s\n", info->model, info->artifact_sha256);
    for (int i = 0; failure == NULL && i < RUNS; i++) {
        long time_us;

        failure = run(&time_us);
        if (failure == NULL) {
            printf("time: %ld us\n", time_us);
        }
    }
    if (failure != NULL) {
        printf("failed: %s\n", failure);
        return;
    }
    print_scores(engine_output(0), engine_output_data(0));
    engine_get_memory(&memory);
    printf("workspace: %lu bytes\n", (unsigned long)memory.arena_bytes);
    for (uint16_t i = 0; i < info->outputs; i++) {
        const engine_tensor *tensor = engine_output(i);
        const uint32_t wrong = differing(tensor, engine_output_data(i), output_data[i]);

        if (wrong == 0) {
            printf("output %s: as expected\n", tensor->name);
        } else {
            printf("output %s: %lu of %lu elements differ\n", tensor->name, (unsigned long)wrong,
                   (unsigned long)(tensor->bytes / element_bytes(tensor)));
        }
    }
}
