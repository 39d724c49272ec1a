#include "describe.h"

#include "bytes.h"
#include "engine.h"
#include "identity.h"
#include "platform.h"

#include <string.h>

#define TASK_BYTES 9u /* without the name */

enum { KIND_INPUT = 0, KIND_OUTPUT = 1, KIND_LAYER = 2 };

static void line(const char *key, const char *value) {
    reply_text(key);
    reply_u8('=');
    reply_text(value);
    reply_u8('\n');
}

void on_identify(const frame *request) {
    /* A loop over the two takes half the flash of eleven calls. */
    static const char keys[] = "target\0platform\0fidelity\0runtime\0kernels\0model\0artifact\0firmware\0"
                               "counter\0counter_scale\0compiler";
    const platform_info *platform = platform_get_info();
    const engine_info *engine = engine_get_info();
    const char *const values[] = {
        firmware_target,         platform->name,  platform->fidelity,
        engine->runtime,         engine->kernels, engine->model,
        engine->artifact_sha256, firmware_digest, platform->counter,
        platform->counter_scale, __VERSION__,
    };
    const char *key = keys;
    const char *extra;

    (void)request;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++, key += strlen(key) + 1)
        line(key, values[i]);
    for (uint16_t i = 0; (extra = platform_identity_line(i)) != NULL; i++) {
        reply_text(extra);
        reply_u8('\n');
    }
}

static void describe(uint16_t total, uint16_t index, const engine_tensor *tensor, const engine_layer *layer) {
    const char *op = layer != NULL ? layer->op : "";

    reply_u16(total);
    reply_u16(index);
    reply_u8((uint8_t)tensor->dtype);
    reply_u8(tensor->rank);
    reply_u16(0);
    reply_u32(tensor->bytes);
    reply_u32(tensor->scale_bits);
    reply_u32((uint32_t)tensor->zero_point);
    reply_u64(layer != NULL ? layer->macs : 0);
    for (uint8_t i = 0; i < tensor->rank; i++)
        reply_u32((uint32_t)tensor->dims[i]);
    reply_u8((uint8_t)strlen(op));
    reply_text(op);
    reply_text(tensor->name);
}

void on_describe(const frame *request) {
    const engine_info *engine = engine_get_info();

    if (request->length != 4) {
        reply_fail(STATUS_MALFORMED);
        return;
    }
    uint8_t kind = request->payload[0];
    uint16_t index = get_u16(request->payload + 2);
    if (kind == KIND_INPUT && index < engine->inputs)
        describe(engine->inputs, index, engine_input(index), NULL);
    else if (kind == KIND_OUTPUT && index < engine->outputs)
        describe(engine->outputs, index, engine_output(index), NULL);
    else if (kind == KIND_LAYER && index < engine->layers)
        describe(engine->layers, index, &engine_get_layer(index)->output, engine_get_layer(index));
    else
        reply_fail(STATUS_RANGE);
}

void on_memory(const frame *request) {
    engine_memory engine;
    platform_memory platform;

    (void)request;
    engine_get_memory(&engine);
    platform_get_memory(&platform);
    reply_u32(engine.arena_bytes);
    reply_u32(engine.arena_used_bytes);
    reply_u32(engine.model_bytes);
    reply_u32(platform.stack_bytes);
    reply_u32(platform.stack_used_bytes);
    reply_u32(platform.heap_bytes);
    reply_u32(platform.heap_low_bytes);
    reply_u32(platform.static_ram_bytes);

    platform_task task;
    for (uint16_t i = 0; platform_get_task(i, &task); i++) {
        size_t length = strlen(task.name);
        if (reply_room() < TASK_BYTES + length)
            return;
        reply_u32(task.stack_bytes);
        reply_u32(task.stack_low_bytes);
        reply_u8((uint8_t)length);
        reply_bytes(task.name, length);
    }
}
