#include "mlperf.h"

#include "decimal.h"
#include "engine.h"
#include "frame.h"
#include "identity.h"
#include "mlperf_text.h"
#include "platform.h"

#include <stdbool.h>
#include <string.h>

#define COMMAND_BYTES  80u
#define TERMINATOR     '%'
#define BYTES_PER_LINE 8u
#define MAX_RUNS       1000000000u

/* An int8 input whose zero point is -128 holds pixels: on the wire they are 0 to 255. */
#define PIXEL_ZERO_POINT (-128)
#define PIXEL_SHIFT      0x80u

#define DEFAULT_RUNS    1u
#define DEFAULT_WARM_UP 10u

static struct {
    uint8_t *buffer; /* the input, as the network takes it */
    size_t capacity;
    const char *engine_failure;

    char command[COMMAND_BYTES + 1u];
    size_t length;     /* bytes of the command so far, also those that did not fit */
    bool damaged;      /* one of them is no text */
    bool speaking;     /* a command has been answered since the last zero byte */
    uint32_t in_chunk; /* bytes since the last zero, counted up to 2; 2 before the first one */
    bool frame;        /* they are one of our frames */

    uint32_t expected; /* bytes; 0: nothing is being loaded */
    uint32_t loaded;
    bool results; /* the outputs are those of the input loaded */
} dialect;

static void forget_input(void) {
    dialect.expected = 0;
    dialect.loaded = 0;
    dialect.results = false;
}

/* An error inside a load: what is in the buffer is not what was meant, so it must be loaded again. */
static void fail_load(const char *why) {
    forget_input();
    mlperf_error(why);
}

static uint32_t input_bytes(void) {
    uint32_t total = 0;
    for (uint16_t i = 0; i < engine_get_info()->inputs; i++)
        total += engine_input(i)->bytes;
    return total;
}

/* What turns the byte at `offset` of the wire into one of the network, and back. */
static uint8_t shift_at(uint32_t offset) {
    for (uint16_t i = 0; i < engine_get_info()->inputs; i++) {
        const engine_tensor *tensor = engine_input(i);
        if (offset < tensor->bytes)
            return tensor->dtype == ENGINE_INT8 && tensor->zero_point == PIXEL_ZERO_POINT ? PIXEL_SHIFT : 0;
        offset -= tensor->bytes;
    }
    return 0;
}

/* The next word of the command, or NULL. */
static char *next_word(char **rest) {
    char *word = *rest;
    while (*word == ' ')
        word++;
    if (*word == '\0')
        return NULL;
    char *end = word;
    while (*end != ' ' && *end != '\0')
        end++;
    *rest = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static void on_name(char *arguments) {
    (void)arguments;
    mlperf_text("m-name-dut-[");
    mlperf_text(firmware_target);
    mlperf_text("-");
    mlperf_field(platform_get_info()->fidelity);
    mlperf_text("]\r\n");
}

static void on_profile(char *arguments) {
    (void)arguments;
    mlperf_text("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[");
    mlperf_field(engine_get_info()->model);
    mlperf_text("]\r\n");
}

static void on_timestamp(char *arguments) {
    (void)arguments;
    mlperf_text("m-lap-us-");
    mlperf_number(platform_microseconds());
    mlperf_text("\r\n");
}

static void on_help(char *arguments) {
    (void)arguments;
    mlperf_text("ULPMark for tinyML Firmware V0.0.1\r\n\r\n"
                "help         : Print this information\r\n"
                "name         : Print the name of the device\r\n"
                "profile      : Print the profile and the model\r\n"
                "timestamp    : Print the time in microseconds\r\n"
                "db load N    : Expect N bytes of input\r\n"
                "db HH[HH]*   : Load bytes, in hex\r\n"
                "db print     : Print the bytes loaded\r\n"
                "infer N [W]  : Execute N inferences after W warm-up inferences\r\n"
                "results      : Print the result again\r\n");
}

static void begin_load(char *arguments) {
    const char *word = next_word(&arguments);
    uint32_t size;

    forget_input();
    if (word == NULL) {
        mlperf_error("Command 'db load' requires the # of bytes");
    } else if (!decimal_parse(word, UINT32_MAX, &size) || size == 0) {
        mlperf_error("Command 'db load' must be >0 bytes");
    } else if (size > dialect.capacity) {
        mlperf_text("e-[Supplied buffer size ");
        mlperf_number(size);
        mlperf_text(" exceeds maximum of ");
        mlperf_number(dialect.capacity);
        mlperf_text("]\r\n");
    } else {
        dialect.expected = size;
        mlperf_text("m-[Expecting ");
        mlperf_number(size);
        mlperf_text(" bytes]\r\n");
    }
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void load_hex(const char *digits, char *arguments) {
    size_t count = strlen(digits);
    if (dialect.expected == 0) {
        mlperf_error("Command 'db load' must come before data");
        return;
    }
    if (count % 2 != 0) {
        fail_load("Insufficent number of hex digits");
        return;
    }
    /* The reference device drops what is too much. But then two commands run together by the loss of
     * "% " pass: the next one's "db" is a byte in hex. */
    if (count / 2 > dialect.expected - dialect.loaded || next_word(&arguments) != NULL) {
        fail_load("More data than announced: start again with 'db load'");
        return;
    }
    for (; *digits != '\0'; digits += 2) {
        int high = hex_digit(digits[0]), low = hex_digit(digits[1]);
        if (high < 0 || low < 0) {
            const char invalid[] = {digits[0], digits[1], '\0'};
            forget_input();
            mlperf_text("e-[Invalid hex digit '");
            mlperf_field(invalid);
            mlperf_text("']\r\n");
            return;
        }
        dialect.buffer[dialect.loaded] = (uint8_t)((high << 4 | low) ^ shift_at(dialect.loaded));
        dialect.loaded++;
    }
    dialect.results = false;
    if (dialect.loaded == dialect.expected)
        mlperf_text("m-load-done\r\n");
}

static void print_buffer(void) {
    static const char digits[] = "0123456789abcdef";
    uint32_t i = 0;
    for (; i < dialect.loaded; i++) {
        uint8_t byte = dialect.buffer[i] ^ shift_at(i);
        char text[] = {'-', digits[byte >> 4], digits[byte & 15u], '\0'};
        bool first = i % BYTES_PER_LINE == 0;
        if (first)
            mlperf_text(i == 0 ? "m-buffer" : "\r\nm-buffer");
        mlperf_text(text);
    }
    if (i > 0)
        mlperf_text("\r\n");
    if (i % BYTES_PER_LINE != 0)
        mlperf_text("\r\n");
}

static void on_db(char *arguments) {
    const char *word = next_word(&arguments);
    if (word == NULL)
        mlperf_error("Command 'db' requires a subcommand");
    else if (strcmp(word, "load") == 0)
        begin_load(arguments);
    else if (strcmp(word, "print") == 0)
        print_buffer();
    else
        load_hex(word, arguments);
}

static void on_results(char *arguments) {
    (void)arguments;
    if (dialect.results)
        mlperf_print_outputs();
    else
        mlperf_error("No results: load an input and infer first");
}

/* A run may overwrite the input, so each one gets it anew. NULL, or why it failed. */
static const char *run(uint32_t times) {
    const char *failure = NULL;
    while (failure == NULL && times-- > 0) {
        const uint8_t *from = dialect.buffer;
        for (uint16_t i = 0; i < engine_get_info()->inputs; i++) {
            memcpy(engine_input_data(i), from, engine_input(i)->bytes);
            from += engine_input(i)->bytes;
        }
        platform_measure_begin();
        failure = engine_invoke(engine_get_info()->layers, NULL, NULL);
        platform_measure_end();
    }
    return failure;
}

static void infer(uint32_t runs, uint32_t warm_up) {
    mlperf_text("m-warmup-start-");
    mlperf_number(warm_up);
    mlperf_text("\r\n");
    const char *failure = run(warm_up);
    if (failure == NULL) {
        mlperf_text("m-warmup-done\r\nm-infer-start-");
        mlperf_number(runs);
        mlperf_text("\r\n");
        platform_flush(); /* nothing but the network between the two times */
        uint64_t begun_us = platform_microseconds();
        failure = run(runs);
        uint64_t ended_us = platform_microseconds();
        mlperf_text("m-lap-us-");
        mlperf_number(begun_us);
        mlperf_text("\r\nm-lap-us-");
        mlperf_number(ended_us);
        mlperf_text("\r\n");
    }
    if (failure != NULL) {
        mlperf_error(failure);
        return;
    }
    mlperf_text("m-infer-done\r\n");
    dialect.results = true;
    mlperf_print_outputs();
}

static void on_infer(char *arguments) {
    uint32_t runs = DEFAULT_RUNS, warm_up = DEFAULT_WARM_UP;
    const char *first = next_word(&arguments);
    const char *second = first != NULL ? next_word(&arguments) : NULL;

    dialect.results = false;
    if (first != NULL && (!decimal_parse(first, MAX_RUNS, &runs) || runs == 0)) {
        mlperf_error("Inference iterations must be >0");
    } else if (second != NULL && !decimal_parse(second, MAX_RUNS, &warm_up)) {
        mlperf_error("Inference warmup must be >=0");
    } else if (dialect.engine_failure != NULL) {
        mlperf_error(dialect.engine_failure);
    } else if (!mlperf_can_print_outputs()) {
        mlperf_error("This network has outputs of a type that is not printed");
    } else if (dialect.expected == 0 || dialect.loaded != dialect.expected ||
               dialect.loaded != input_bytes()) {
        mlperf_text("e-[Input db has ");
        mlperf_number(dialect.loaded);
        mlperf_text(" elements, expected ");
        mlperf_number(input_bytes());
        mlperf_text("]\r\n");
    } else {
        infer(runs, warm_up);
    }
}

static const struct {
    const char *word;
    void (*handle)(char *arguments);
} commands[] = {
    {"name", on_name}, {"profile", on_profile}, {"timestamp", on_timestamp}, {"help", on_help},
    {"db", on_db},     {"infer", on_infer},     {"results", on_results},
};

static void handle(char *command) {
    const char *word = next_word(&command);
    for (size_t i = 0; word != NULL && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].word, word) == 0) {
            commands[i].handle(command);
            return;
        }
    }
    /* Perhaps the command that should have carried data. */
    forget_input();
    mlperf_text("e-[Unknown command: ");
    mlperf_field(word == NULL ? "" : word);
    mlperf_text("]\r\n");
}

static void forget_command(void) {
    dialect.length = 0;
    dialect.damaged = false;
}

/* At the terminator. Noise before anything was answered stays without an answer. */
static void on_command(void) {
    if (dialect.damaged && !dialect.speaking)
        return;
    if (!dialect.speaking)
        mlperf_text("\r\n"); /* ends the line that READY began */
    dialect.speaking = true;
    if (dialect.damaged) {
        fail_load("Command with a byte that is no text");
    } else if (dialect.length > COMMAND_BYTES) {
        fail_load("Command of more than 80 characters");
    } else {
        dialect.command[dialect.length] = '\0';
        handle(dialect.command);
    }
    mlperf_text("m-ready\r\n");
}

void mlperf_start(uint8_t *buffer, size_t size, const char *engine_failure) {
    memset(&dialect, 0, sizeof dialect);
    dialect.buffer = buffer;
    dialect.capacity = size;
    dialect.engine_failure = engine_failure;
    dialect.in_chunk = 2;
}

void mlperf_receive(uint8_t byte) {
    if (byte == 0) {
        forget_input();
        forget_command();
        dialect.speaking = false;
        dialect.frame = false;
        dialect.in_chunk = 0;
        return;
    }
    /* A frame's second byte is its version (docs/protocol.md), which is no text. */
    if (dialect.in_chunk < 2 && ++dialect.in_chunk == 2 && byte == FRAME_VERSION)
        dialect.frame = true;
    if (dialect.frame)
        return;
    if (byte == TERMINATOR) {
        on_command();
        forget_command();
        return;
    }
    if (dialect.length == 0 && (byte == '\r' || byte == '\n'))
        return; /* a terminal's line end behind the command before */
    dialect.damaged = dialect.damaged || byte < ' ' || byte > '~';
    if (dialect.length < COMMAND_BYTES)
        dialect.command[dialect.length] = (char)byte;
    if (dialect.length <= COMMAND_BYTES)
        dialect.length++;
}
