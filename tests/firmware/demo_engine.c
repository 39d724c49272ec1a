/*
 * A network small enough to check by hand, for tests of the firmware alone:
 * input int8[8]; layer 0 adds the index to each element, layer 1 doubles,
 * layer 2 sums in 64 bits and keeps the low 32. An input that starts with 127
 * fails; with 126 it spoils initialised data, until a reset; with 125 it traps; with
 * 124 it needs more stack than there is.
 */
#include "engine.h"

#include <string.h>

#ifndef DEMO_LOOP
#define DEMO_LOOP 0
#endif

#define ELEMENTS 8

static const engine_info info = {
    .runtime = "demo",
    .kernels = "portable",
    .model = "demo",
    .artifact_sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    .inputs = 1,
    .outputs = 1,
    .layers = 3,
};

/* 0.5f, zero point 3. */
static const engine_tensor input = {"in", ENGINE_INT8, 2, {1, ELEMENTS}, ELEMENTS, 0x3F000000u, 3};
static const engine_layer layers[3] = {
    {"ADD", 0, {"added", ENGINE_INT8, 2, {1, ELEMENTS}, ELEMENTS, 0x3F000000u, 3}},
    {"MUL", ELEMENTS, {"doubled", ENGINE_INT16, 2, {1, ELEMENTS}, 2 * ELEMENTS, 0, 0}},
    {"SUM", ELEMENTS, {"out", ENGINE_INT32, 1, {1}, 4, 0, 0}},
};

static int32_t bias = 1000;
static int8_t in[ELEMENTS];
static int8_t added[ELEMENTS];
static int16_t doubled[ELEMENTS];
static int32_t sum;

const char *engine_init(void) {
    return NULL;
}

const engine_info *engine_get_info(void) {
    return &info;
}

const engine_tensor *engine_input(uint16_t index) {
    (void)index;
    return &input;
}

const engine_tensor *engine_output(uint16_t index) {
    (void)index;
    return &layers[2].output;
}

const engine_layer *engine_get_layer(uint16_t index) {
    return &layers[index];
}

void *engine_input_data(uint16_t index) {
    (void)index;
    return in;
}

const void *engine_output_data(uint16_t index) {
    (void)index;
    return &sum;
}

const void *engine_layer_data(uint16_t index) {
    const void *const data[3] = {added, doubled, &sum};
    return data[index];
}

/* DEMO_LOOP passes of exactly two instructions, for a count known beforehand. */
static void spin(void) {
#if DEMO_LOOP > 0
    uint32_t left = DEMO_LOOP;
#if defined(__riscv) || defined(__XTENSA__)
    __asm__ volatile("1: addi %0, %0, -1\n bnez %0, 1b" : "+r"(left));
#else
    (void)left;
#endif
#endif
}

/* Reads where the QEMU machines have no memory. */
static void trap(void) {
#if defined(__riscv) || defined(__XTENSA__)
    (void)*(volatile uint32_t *)0xF0000000u;
#endif
}

/* As much as the whole stack, on top of what is in use; the lowest 1000 bytes are written to. */
__attribute__((noinline)) static void overflow_stack(void) {
#if defined(__riscv) || defined(__XTENSA__)
    volatile uint8_t deep[32 * 1024];
    for (int i = 0; i < 1000; i++)
        deep[i] = 0;
    (void)deep[0];
#endif
}

const char *engine_invoke(uint16_t count, engine_observer observer, void *context) {
    if (in[0] == 127)
        return "the demo network refuses 127";
    if (in[0] == 126)
        bias = 0;
    if (in[0] == 125)
        trap();
    if (in[0] == 124)
        overflow_stack();
    for (int i = 0; i < ELEMENTS; i++)
        added[i] = (int8_t)(in[i] + i);
    spin();
    if (observer != NULL)
        observer(context, 0);
    if (count == 1)
        return NULL;
    for (int i = 0; i < ELEMENTS; i++)
        doubled[i] = (int16_t)(2 * added[i]);
    if (observer != NULL)
        observer(context, 1);
    if (count == 2)
        return NULL;
    int64_t total = bias;
    for (int i = 0; i < ELEMENTS; i++)
        total += (int64_t)doubled[i] * 65537;
    sum = (int32_t)(uint32_t)(uint64_t)total;
    memset(in, 0x55, sizeof in); /* as a real arena does */
    if (observer != NULL)
        observer(context, 2);
    return NULL;
}

void engine_get_memory(engine_memory *memory) {
    memory->arena_bytes = sizeof in + sizeof added + sizeof doubled + sizeof sum;
    memory->arena_used_bytes = memory->arena_bytes;
    memory->model_bytes = 0;
}
