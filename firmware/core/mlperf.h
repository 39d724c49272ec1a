/*
 * The other dialect: text commands of the MLPerf Tiny benchmark, docs/mlperf_tiny.md. It gets the bytes
 * of a line on which no frame has been found yet, and answers whole commands. It shares no state
 * with the frames' requests but the network itself.
 */
#ifndef MLPERF_H
#define MLPERF_H

#include <stddef.h>
#include <stdint.h>

/* `buffer` holds the input between commands; nobody else may write to it until a zero byte has come. */
void mlperf_start(uint8_t *buffer, size_t size, const char *engine_failure);

/* Any byte. A zero belongs to a frame: it ends the conversation and forgets the input. */
void mlperf_receive(uint8_t byte);

#endif
