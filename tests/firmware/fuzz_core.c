/*
 * Throws byte streams at the core, under sanitizers: noise, damaged frames, and
 * sound frames with any payload, and text of the MLPerf Tiny dialect. After each stream a HELLO must
 * be answered. A sample sent in that dialect with bytes lost gets its own score or none.
 * As a program: fuzz_core STREAMS SEED [FILE ...]; files are inputs as of libFuzzer. With
 * -DLIBFUZZER: a libFuzzer target. Its inputs are a conversation: pieces of a kind, a length and bytes.
 */
#include "blake2s.h"
#include "bytes.h"
#include "core.h"
#include "frame.h"
#include "platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STREAM 16384u

static const platform_info info = {"fuzz", "host", "instructions", "1/1", true, 4096};
static uint64_t ticks;
static uint32_t baud = 115200;
static int resets;

/* What the core wrote since the last clear_output(). */
static uint8_t output[4 * MAX_STREAM + 1];
static size_t output_size;

static void clear_output(void) {
    output_size = 0;
}

void platform_init(void) {
}

const platform_info *platform_get_info(void) {
    return &info;
}

platform_boot_reason platform_get_boot_reason(void) {
    return PLATFORM_BOOT_POWER_ON;
}

size_t platform_read(uint8_t *data, size_t size, uint32_t timeout_us) {
    (void)data, (void)size, (void)timeout_us;
    abort(); /* the fuzzer feeds core_receive() itself */
}

/* Keeps the newest bytes. */
void platform_write(const uint8_t *data, size_t size) {
    if (size > sizeof output - 1 - output_size)
        clear_output();
    memcpy(output + output_size, data, size);
    output_size += size;
}

void platform_flush(void) {
}

bool platform_set_baud(uint32_t wanted) {
    baud = wanted;
    return true;
}

uint32_t platform_get_baud(void) {
    return baud;
}

void platform_measure_begin(void) {
}

void platform_measure_end(void) {
}

uint64_t platform_count(void) {
    return ++ticks;
}

uint64_t platform_microseconds(void) {
    return ++ticks;
}

void platform_get_memory(platform_memory *memory) {
    memset(memory, 0, sizeof *memory);
}

bool platform_get_task(uint16_t index, platform_task *task) {
    *task = (platform_task){"a task of some length", 8192, PLATFORM_UNKNOWN};
    return index < 200; /* more than any reply has room for */
}

const char *platform_identity_line(uint16_t index) {
    return index == 0 ? "fuzz=1" : NULL;
}

void platform_reset(void) {
    resets++;
}

static void fail(const char *why) {
    fprintf(stderr, "fuzz_core: %s\n", why);
    abort();
}

/* One encoded frame, in `output`, by the core's own encoder. */
static void encode(uint8_t type, const uint8_t *payload, size_t size) {
    clear_output();
    frame_send(type, 7, 0, payload, size);
}

static void check_hello(uint32_t nonce) {
    static frame_parser parser;
    static uint8_t request[64];
    uint8_t hello[8] = {FRAME_VERSION, FRAME_VERSION};

    put_u32(hello + 4, nonce);
    encode(0x01, hello, sizeof hello);
    size_t size = output_size;
    memcpy(request, output, size);
    clear_output();
    core_receive(request, size);

    frame_parser_start(&parser);
    for (size_t i = 0; i < output_size; i++) {
        frame found;
        if (frame_parser_put(&parser, output[i], &found) != FRAME_VALID || found.type != 0x81)
            continue;
        if (found.status == 0 && get_u32(found.payload) == nonce)
            return;
    }
    fail("HELLO was not answered");
}

static void feed(const uint8_t *stream, size_t size) {
    static uint32_t nonce;
    core_receive(stream, size);
    if (resets > 0 || nonce % 2 == 0) { /* the dialect is heard only before the first frame */
        resets = 0;
        core_start();
    }
    check_hello(++nonce);
}

static void put_digest(uint8_t *to, const uint8_t *data, size_t size) {
    blake2s hash;
    blake2s_start(&hash);
    blake2s_update(&hash, data, size);
    blake2s_finish(&hash, to);
}

#define PIECE_LENGTH_MASK 0x7Fu
#define LONG_PIECE        0x80u /* of 32 times the length */
#define RAW_BYTES         0x80u /* of the kind: no frame */
#define TRUE_DIGEST       0x40u /* of the kind: an INFER that the core will run */
#define INPUT_BYTES       8u

/* One piece onto the end of `stream`; how much of `data` it took. */
static size_t add_piece(const uint8_t *data, size_t size, uint8_t *stream, size_t *stream_size) {
    static uint8_t payload[LINK_MAX_PAYLOAD];
    static uint8_t input[INPUT_BYTES]; /* what the last piece ended in */
    uint8_t kind = data[0];
    size_t length = data[1] & PIECE_LENGTH_MASK;

    if ((data[1] & LONG_PIECE) != 0)
        length *= 32;
    size_t given = length < size - 2 ? length : size - 2;
    memset(payload, 1, sizeof payload);
    memcpy(payload, data + 2, given);
    if ((kind & RAW_BYTES) != 0) {
        memcpy(stream + *stream_size, payload, length);
        *stream_size += length;
        return 2 + given;
    }
    if ((kind & TRUE_DIGEST) != 0 && length == 16)
        put_digest(payload + 8, input, sizeof input);
    if ((kind & TRUE_DIGEST) != 0 && length > 16)
        put_digest(payload + 8, payload + 16, length - 16);
    if (length >= sizeof input)
        memcpy(input, payload + length - sizeof input, sizeof input);
    encode(kind & 0x3Fu, payload, length);
    memcpy(stream + *stream_size, output, output_size);
    *stream_size += output_size;
    return 2 + given;
}

/* The dialect runs as many inferences as it is asked for; six digits are enough to wait for. */
static void cap_iterations(uint8_t *stream, size_t size) {
    static const char command[] = "infer";
    const size_t length = sizeof command - 1;
    bool asked = false;
    int digits = 0;

    for (size_t i = length; i < size; i++) {
        if (memcmp(stream + i - length, command, length) == 0)
            asked = true;
        else if (stream[i] == '%')
            asked = false;
        digits = stream[i] >= '0' && stream[i] <= '9' ? digits + 1 : 0;
        if (asked && digits > 6) {
            stream[i] = ' ';
            digits = 0;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t stream[4 * MAX_STREAM];
    size_t stream_size = 0;

    core_start();
    while (size >= 2 && stream_size < sizeof stream - MAX_STREAM) {
        size_t taken = add_piece(data, size, stream, &stream_size);
        data += taken;
        size -= taken;
    }
    cap_iterations(stream, stream_size);
    feed(stream, stream_size);
    return 0;
}

#ifndef LIBFUZZER

static uint32_t seed;
static long samples_scored;

static uint32_t any(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % below;
}

static size_t any_size(size_t limit) {
    return any(4) == 0 ? any((uint32_t)limit + 1) : any(48);
}

static void fill(uint8_t *data, size_t size) {
    uint32_t style = any(3); /* noise, small numbers, text without zeros */
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(style == 0 ? any(256) : style == 1 ? any(3) * (any(8) == 0) : 1 + any(255));
}

static void mutate(uint8_t *data, size_t size) {
    for (uint32_t changes = 1 + any(4); changes > 0; changes--)
        data[any((uint32_t)size)] = (uint8_t)any(256);
}

/* An INFER that the demo engine runs, with any layers and flags. */
static size_t make_inference(uint8_t *payload) {
    put_u32(payload, any(4));
    put_u16(payload + 4, (uint16_t)(any(2) == 0 ? 0xFFFFu : any(5)));
    put_u16(payload + 6, (uint16_t)any(9));
    fill(payload + 16, INPUT_BYTES);
    put_digest(payload + 8, payload + 16, INPUT_BYTES);
    return 16 + INPUT_BYTES;
}

static size_t make_stream(uint8_t *stream) {
    static uint8_t payload[LINK_MAX_PAYLOAD];
    size_t size = 0;
    for (uint32_t pieces = 1 + any(3); pieces > 0; pieces--) {
        if (any(4) == 0) {
            size_t noise = any_size(LINK_MAX_PAYLOAD + 64);
            fill(stream + size, noise);
            size += noise;
            continue;
        }
        size_t length = any_size(LINK_MAX_PAYLOAD);
        fill(payload, length);
        uint8_t type = (uint8_t)any(any(2) == 0 ? 12 : 256);
        if (type == 5)
            length = make_inference(payload);
        encode(type, payload, length);
        memcpy(stream + size, output, output_size);
        if (any(2) == 0)
            mutate(stream + size, output_size);
        size += any(8) == 0 ? any((uint32_t)output_size) : output_size;
    }
    return size;
}

static const char *const words[] = {
    "name",    "profile",  "timestamp",          "help",
    "results", "db print", "db load 8",          "db load 40000",
    "db",      "db load",  "db load 0",          "db zz",
    "db 123",  "db 0011",  "infer 1 0",          "infer 3",
    "infer",   "infer 0",  "infer -1",           "infer 1 -1",
    "",        " ",        "db load 4294967304", "db 0102030405060708",
};

static size_t make_text(uint8_t *stream) {
    size_t size = 0;
    for (uint32_t commands = 1 + any(8); commands > 0; commands--) {
        const char *word = words[any(sizeof words / sizeof words[0])];
        size_t length = strlen(word);
        memcpy(stream + size, word, length);
        size += length;
        for (uint32_t more = any(8) == 0 ? any(200) : 0; more > 0; more--)
            stream[size++] = (uint8_t)('0' + any(10));
        stream[size++] = '%';
    }
    if (any(2) == 0)
        mutate(stream, size);
    return size;
}

/* What demo_engine.c makes of it. */
static int32_t demo_result(const uint8_t *data) {
    uint32_t total = 1000;
    for (int i = 0; i < 8; i++)
        total += (uint32_t)(2 * (int8_t)(data[i] + i)) * 65537u;
    return (int32_t)total;
}

/* One sample, some of its bytes lost on the way. */
static void check_sample(void) {
    static char sent[256], wanted[64];
    static uint8_t data[8];
    size_t size = 0;

    fill(data, sizeof data);
    data[0] %= 100; /* beyond, the demo network does other things than computing */
    size += (size_t)sprintf(sent, "name%%db load 8%%");
    for (size_t i = 0; i < sizeof data; i++)
        size += (size_t)sprintf(sent + size, i % 3 == 0 ? "%sdb %02x" : "%s%02x",
                                i > 0 && i % 3 == 0 ? "%" : "", data[i]);
    size += (size_t)sprintf(sent + size, "%%infer 1 0%%");
    for (uint32_t losses = any(4); losses > 0; losses--) {
        size_t at = any((uint32_t)size--);
        memmove(sent + at, sent + at + 1, size - at + 1);
    }
    clear_output();
    core_receive((const uint8_t *)sent, size);
    output[output_size] = 0;
    sprintf(wanted, "m-results-[%ld.000]\r\nm-ready\r\n", (long)demo_result(data));
    const char *found = strstr((const char *)output, "m-results-");
    if (found != NULL && strcmp(found, wanted) != 0)
        fail("a score of another input");
    if (found == NULL && strstr((const char *)output, "e-[") == NULL && strstr(sent, "infer 1 0%") != NULL)
        fail("neither a score nor an error");
    if (found != NULL)
        samples_scored++;
}

static void replay(const char *name) {
    static uint8_t data[MAX_STREAM];
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        fail("a file cannot be read");
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
}

int main(int count, char **values) {
    static uint8_t stream[4 * MAX_STREAM];
    if (count < 3) {
        fprintf(stderr, "usage: %s STREAMS SEED [FILE ...]\n", values[0]);
        return EXIT_FAILURE;
    }
    seed = (uint32_t)strtoul(values[2], NULL, 0) | 1u;
    core_start();
    for (long left = strtol(values[1], NULL, 0); left > 0; left--)
        check_sample();
    if (samples_scored == 0)
        fail("no sample got a score");
    /* Only now: an input may spoil the demo network's bias. */
    for (int i = 3; i < count; i++)
        replay(values[i]);
    for (long left = strtol(values[1], NULL, 0); left > 0; left--)
        feed(stream, any(3) == 0 ? make_text(stream) : make_stream(stream));
    printf("ok\n");
    return EXIT_SUCCESS;
}

#endif
