/*
 * Runs a generated engine on this machine: inferences from stdin, results to stdout.
 *
 * Input: the input bytes of one inference after another. Output for each: the bytes
 * of every layer's output, taken in the observer, then all outputs.
 */
#include <stdio.h>

#include "engine.h"

static void write_layer(void *context, uint16_t layer) {
    (void)context;
    fwrite(engine_layer_data(layer), 1, engine_get_layer(layer)->output.bytes, stdout);
}

static int read_inputs(void) {
    for (uint16_t i = 0; i < engine_get_info()->inputs; i++) {
        if (fread(engine_input_data(i), 1, engine_input(i)->bytes, stdin) != engine_input(i)->bytes) {
            return 0;
        }
    }
    return 1;
}

int main(void) {
    const char *failure = engine_init();

    while (failure == NULL && read_inputs()) {
        failure = engine_invoke(engine_get_info()->layers, write_layer, NULL);
        for (uint16_t i = 0; i < engine_get_info()->outputs; i++) {
            fwrite(engine_output_data(i), 1, engine_output(i)->bytes, stdout);
        }
    }
    if (failure != NULL) {
        fprintf(stderr, "%s\n", failure);
        return 1;
    }
    return 0;
}
