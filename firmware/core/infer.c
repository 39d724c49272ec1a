#include "infer.h"

#include "blake2s.h"
#include "bytes.h"
#include "engine.h"
#include "platform.h"

#include <string.h>

#define ALL_LAYERS 0xFFFFu

#define FLAG_OUTPUT        1u
#define FLAG_LAYER_COUNTS  2u
#define FLAG_LAYER_DIGESTS 4u
#define KNOWN_FLAGS        (FLAG_OUTPUT | FLAG_LAYER_COUNTS | FLAG_LAYER_DIGESTS)

#define INPUT_HEADER_BYTES 8u
#define INFER_HEADER_BYTES 16u
#define READ_REQUEST_BYTES 12u
#define READ_HEADER_BYTES  8u

typedef struct {
    uint64_t count;
    uint64_t time_us;
} measurement;

static struct {
    const char *engine_failure;
    bool input_begun; /* `input_number` is that of the INPUT frames so far */
    uint32_t input_number;
    bool result_held;
    uint32_t result_number;
    bool result_is_layer; /* the run was asked to end behind `result_layer` */
    uint16_t result_layer;
    uint8_t result_input[BLAKE2S_DIGEST_BYTES];
    measurement result_spent;
} state;

typedef struct {
    uint32_t inference;
    uint16_t layers;
    uint16_t flags;
    bool ends_at_layer; /* the last one also ends at one: its output is not always the network's */
} infer_request;

/* What the observer fills while the network runs. */
typedef struct {
    uint8_t *counts;  /* u64 per layer, or NULL */
    uint8_t *digests; /* 8 bytes per layer, or NULL */
    uint16_t layers;
    uint64_t resumed; /* count when the engine got the machine back */
} layer_trace;

void infer_start(const char *engine_failure) {
    memset(&state, 0, sizeof state);
    state.engine_failure = engine_failure;
}

void infer_forget_input(void) {
    state.input_begun = false;
}

bool infer_can_count(void) {
    static const char none[] = "none"; /* as long as the shortest there is: platform.h */
    return memcmp(platform_get_info()->counter, none, sizeof none) != 0;
}

static uint32_t input_bytes(void) {
    uint32_t total = 0;
    for (uint16_t i = 0; i < engine_get_info()->inputs; i++)
        total += engine_input(i)->bytes;
    return total;
}

/* Writes into the inputs taken as one byte string; the range was checked. */
static void write_input(uint32_t offset, const uint8_t *data, uint32_t size) {
    state.result_held = false;
    for (uint16_t i = 0; size > 0; i++) {
        uint32_t bytes = engine_input(i)->bytes;
        if (offset >= bytes) {
            offset -= bytes;
            continue;
        }
        uint32_t take = size < bytes - offset ? size : bytes - offset;
        memcpy((uint8_t *)engine_input_data(i) + offset, data, take);
        data += take;
        size -= take;
        offset = 0;
    }
}

static void clear_input(void) {
    state.result_held = false;
    for (uint16_t i = 0; i < engine_get_info()->inputs; i++)
        memset(engine_input_data(i), 0, engine_input(i)->bytes);
}

static void digest_input(uint8_t digest[BLAKE2S_DIGEST_BYTES]) {
    blake2s hash;
    blake2s_start(&hash);
    for (uint16_t i = 0; i < engine_get_info()->inputs; i++)
        blake2s_update(&hash, engine_input_data(i), engine_input(i)->bytes);
    blake2s_finish(&hash, digest);
}

/* The last result: all outputs one after another, or one layer's output. */
static uint16_t result_parts(void) {
    return state.result_is_layer ? 1 : engine_get_info()->outputs;
}

static const uint8_t *result_part(uint16_t part, uint32_t *bytes) {
    if (state.result_is_layer) {
        *bytes = engine_get_layer(state.result_layer)->output.bytes;
        return engine_layer_data(state.result_layer);
    }
    *bytes = engine_output(part)->bytes;
    return engine_output_data(part);
}

static uint32_t result_bytes(void) {
    uint32_t total = 0, bytes;
    for (uint16_t i = 0; i < result_parts(); i++) {
        (void)result_part(i, &bytes);
        total += bytes;
    }
    return total;
}

static void digest_result(uint8_t digest[BLAKE2S_DIGEST_BYTES]) {
    blake2s hash;
    uint32_t bytes;
    blake2s_start(&hash);
    for (uint16_t i = 0; i < result_parts(); i++) {
        const uint8_t *data = result_part(i, &bytes);
        blake2s_update(&hash, data, bytes);
    }
    blake2s_finish(&hash, digest);
}

static void put_result(uint32_t offset, uint32_t size) {
    uint32_t bytes;
    for (uint16_t i = 0; size > 0; i++) {
        const uint8_t *data = result_part(i, &bytes);
        if (offset >= bytes) {
            offset -= bytes;
            continue;
        }
        uint32_t take = size < bytes - offset ? size : bytes - offset;
        reply_bytes(data + offset, take);
        size -= take;
        offset = 0;
    }
}

void on_input(const frame *request) {
    if (request->length < INPUT_HEADER_BYTES) {
        reply_fail(STATUS_MALFORMED);
        return;
    }
    uint32_t inference = get_u32(request->payload);
    uint32_t offset = get_u32(request->payload + 4);
    uint32_t size = request->length - INPUT_HEADER_BYTES;
    uint32_t total = input_bytes();

    if (state.engine_failure != NULL) {
        reply_engine_failed(state.engine_failure);
    } else if (state.input_begun && inference - state.input_number >= 0x80000000u) {
        reply_fail(STATUS_STALE);
    } else if (offset > total || size > total - offset) {
        reply_fail(STATUS_RANGE);
    } else {
        if (!state.input_begun || inference != state.input_number)
            clear_input();
        state.input_begun = true;
        state.input_number = inference;
        write_input(offset, request->payload + INPUT_HEADER_BYTES, size);
    }
}

/* Reads what comes before the input bytes; false if the reply has failed. */
static bool read_request(const frame *request, infer_request *run) {
    uint16_t available = engine_get_info()->layers;

    if (request->length < INFER_HEADER_BYTES) {
        reply_fail(STATUS_MALFORMED);
        return false;
    }
    run->inference = get_u32(request->payload);
    run->layers = get_u16(request->payload + 4);
    run->flags = get_u16(request->payload + 6);
    run->ends_at_layer = run->layers != ALL_LAYERS;
    if (!run->ends_at_layer)
        run->layers = available;
    if (run->layers > available || (run->ends_at_layer && run->layers == 0)) {
        reply_fail(STATUS_RANGE);
        return false;
    }
    if ((run->flags & ~KNOWN_FLAGS) != 0) {
        reply_fail(STATUS_RANGE);
        return false;
    }
    if ((run->flags & FLAG_LAYER_COUNTS) != 0 && !infer_can_count()) {
        reply_fail(STATUS_UNSUPPORTED);
        return false;
    }
    return true;
}

/* Puts the input in place and checks it; false if the reply has failed. */
static bool take_input(const frame *request, uint8_t digest[BLAKE2S_DIGEST_BYTES]) {
    uint32_t size = request->length - INFER_HEADER_BYTES;

    if (size > 0 && size != input_bytes()) {
        reply_fail(STATUS_MALFORMED);
        return false;
    }
    if (size > 0)
        write_input(0, request->payload + INFER_HEADER_BYTES, size);
    digest_input(digest);
    if (memcmp(digest, request->payload + 8, BLAKE2S_DIGEST_BYTES) != 0) {
        reply_fail(STATUS_INPUT_DIGEST);
        reply_bytes(digest, BLAKE2S_DIGEST_BYTES);
        return false;
    }
    return true;
}

/* Reads the counter first thing and last thing: a layer's count has none of this in it. */
static void observe(void *context, uint16_t layer) {
    uint64_t arrived = platform_count();
    layer_trace *trace = context;

    if (layer < trace->layers) {
        if (trace->counts != NULL)
            put_u64(trace->counts + 8u * layer, arrived - trace->resumed);
        if (trace->digests != NULL) {
            blake2s hash;
            blake2s_start(&hash);
            blake2s_update(&hash, engine_layer_data(layer), engine_get_layer(layer)->output.bytes);
            blake2s_finish(&hash, trace->digests + 8u * layer);
        }
    }
    trace->resumed = platform_count();
}

/* Not inlined: what the caller has to decide must not end up between the two counts. */
__attribute__((noinline)) static const char *measure(uint16_t layers, engine_observer observer,
                                                     layer_trace *trace, measurement *spent) {
    platform_measure_begin();
    uint64_t begun_us = platform_microseconds();
    uint64_t begun = platform_count();
    trace->resumed = begun;
    const char *failure = engine_invoke(layers, observer, trace);
    spent->count = platform_count() - begun;
    spent->time_us = platform_microseconds() - begun_us;
    platform_measure_end();
    return failure;
}

/* The last run once more, its answer having been lost: its result is there, its input no longer. */
static bool has_run(const frame *request, const infer_request *run) {
    return state.result_held && request->length == INFER_HEADER_BYTES &&
           run->inference == state.result_number && run->ends_at_layer == state.result_is_layer &&
           run->layers == state.result_layer + 1u &&
           (run->flags & (FLAG_LAYER_COUNTS | FLAG_LAYER_DIGESTS)) == 0 &&
           memcmp(state.result_input, request->payload + 8, BLAKE2S_DIGEST_BYTES) == 0;
}

/* Runs the network; false if the reply has failed. */
static bool run_engine(const infer_request *run, layer_trace *trace) {
    bool observed = (run->flags & (FLAG_LAYER_COUNTS | FLAG_LAYER_DIGESTS)) != 0;
    state.result_held = false;
    const char *failure = measure(run->layers, observed ? observe : NULL, trace, &state.result_spent);
    if (failure != NULL) {
        reply_engine_failed(failure);
        return false;
    }
    state.result_held = true;
    state.result_number = run->inference;
    state.result_is_layer = run->ends_at_layer;
    state.result_layer = (uint16_t)(run->layers - 1u);
    return true;
}

void on_infer(const frame *request) {
    infer_request run;
    uint8_t digest[BLAKE2S_DIGEST_BYTES];

    if (state.engine_failure != NULL) {
        reply_engine_failed(state.engine_failure);
        return;
    }
    if (!read_request(request, &run))
        return;
    bool again = has_run(request, &run);
    if (again)
        memcpy(digest, state.result_input, sizeof digest);
    else if (!take_input(request, digest))
        return;

    reply_u32(run.inference);
    reply_u16(run.layers);
    reply_u16(run.flags);
    reply_bytes(digest, sizeof digest);
    uint8_t *result_digest = reply_reserve(BLAKE2S_DIGEST_BYTES);
    uint8_t *measured = reply_reserve(16);
    layer_trace trace = {NULL, NULL, run.layers, 0};
    if ((run.flags & FLAG_LAYER_COUNTS) != 0)
        trace.counts = reply_reserve(8u * run.layers);
    if ((run.flags & FLAG_LAYER_DIGESTS) != 0)
        trace.digests = reply_reserve(8u * run.layers);
    if (reply_overflowed() || (!again && !run_engine(&run, &trace)))
        return;

    memcpy(state.result_input, digest, sizeof digest);
    digest_result(result_digest);
    put_u64(measured, state.result_spent.count);
    put_u64(measured + 8, state.result_spent.time_us);
    if ((run.flags & FLAG_OUTPUT) != 0) {
        uint32_t bytes = result_bytes();
        size_t left = reply_room();
        if (left < 4 || bytes > left - 4)
            bytes = 0;
        reply_u32(bytes);
        put_result(0, bytes);
    }
}

void on_read(const frame *request) {
    if (request->length != READ_REQUEST_BYTES) {
        reply_fail(STATUS_MALFORMED);
        return;
    }
    uint32_t inference = get_u32(request->payload);
    uint32_t offset = get_u32(request->payload + 4);
    uint32_t length = get_u32(request->payload + 8);

    if (!state.result_held || inference != state.result_number) {
        reply_fail(STATUS_STALE);
        return;
    }
    if (length > LINK_MAX_PAYLOAD - READ_HEADER_BYTES) {
        reply_fail(STATUS_TOO_LARGE);
        return;
    }
    uint32_t total = result_bytes();
    if (offset > total || length > total - offset) {
        reply_fail(STATUS_RANGE);
        return;
    }
    reply_u32(inference);
    reply_u32(total);
    put_result(offset, length);
}
