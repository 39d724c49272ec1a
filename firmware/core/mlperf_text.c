#include "mlperf_text.h"

#include "bytes.h"
#include "decimal.h"
#include "engine.h"
#include "platform.h"

#include <string.h>

void mlperf_text(const char *text) {
    platform_write((const uint8_t *)text, strlen(text));
}

void mlperf_number(uint64_t value) {
    char text[DECIMAL_BYTES];
    decimal_unsigned(text, value, 1);
    mlperf_text(text);
}

void mlperf_field(const char *text) {
    for (; *text != '\0'; text++) {
        char shown = *text >= ' ' && *text <= '~' && *text != '[' && *text != ']' ? *text : '_';
        platform_write((const uint8_t *)&shown, 1);
    }
}

void mlperf_error(const char *why) {
    mlperf_text("e-[");
    mlperf_text(why);
    mlperf_text("]\r\n");
}

/* 0 for a type whose values the dialect cannot print. */
static uint32_t element_bytes(const engine_tensor *tensor) {
    switch (tensor->dtype) {
    case ENGINE_INT8:
    case ENGINE_UINT8:
        return 1;
    case ENGINE_INT16:
        return 2;
    case ENGINE_FLOAT32:
        return 4;
    case ENGINE_INT32: /* a product with a scale might not fit decimal_thousandths() */
        return tensor->scale_bits == 0 ? 4 : 0;
    default:
        return 0;
    }
}

static void write_value(const engine_tensor *tensor, const uint8_t *at) {
    char text[DECIMAL_BYTES];
    int32_t steps = 0;
    switch (tensor->dtype) {
    case ENGINE_INT8:
        steps = *at < 0x80 ? *at : *at - 0x100;
        break;
    case ENGINE_UINT8:
        steps = *at;
        break;
    case ENGINE_INT16:
        steps = at[1] < 0x80 ? get_u16(at) : get_u16(at) - 0x10000;
        break;
    case ENGINE_FLOAT32:
        decimal_thousandths(text, 1, get_u32(at));
        mlperf_text(text);
        return;
    default:
        memcpy(&steps, at, sizeof steps);
        break;
    }
    if (tensor->scale_bits == 0) {
        if (steps < 0)
            mlperf_text("-");
        mlperf_number(steps < 0 ? 0u - (uint32_t)steps : (uint32_t)steps);
        mlperf_text(".000");
        return;
    }
    decimal_thousandths(text, steps - tensor->zero_point, tensor->scale_bits);
    mlperf_text(text);
}

bool mlperf_can_print_outputs(void) {
    for (uint16_t i = 0; i < engine_get_info()->outputs; i++)
        if (element_bytes(engine_output(i)) == 0)
            return false;
    return true;
}

void mlperf_print_outputs(void) {
    const char *before = "m-results-[";
    for (uint16_t i = 0; i < engine_get_info()->outputs; i++) {
        const engine_tensor *tensor = engine_output(i);
        const uint8_t *data = engine_output_data(i);
        for (uint32_t at = 0; at < tensor->bytes; at += element_bytes(tensor)) {
            mlperf_text(before);
            write_value(tensor, data + at);
            before = ",";
        }
    }
    mlperf_text("]\r\n");
}
